//! A datastore of its own, and the program by calicoctl's name.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use std::sync::Arc;

use tortie_store::Datastore;
use tortie_store::embedded::{Durability, Embedded, Options};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{self, Etcd};
use tortie_store::kubernetes::{self, Kubernetes};

/// Which store a test is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum On {
    Embedded,
    Etcd,
    /// A cluster's API that knows nothing of Calico.
    Kubernetes,
}

/// Makes of each function `fn(On)` two tests.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[test]
            fn $name() {
                super::$name(crate::fixture::On::Embedded);
            })*
        }
        mod etcd {
            $(#[test]
            fn $name() {
                super::$name(crate::fixture::On::Etcd);
            })*
        }
    };
}
pub(crate) use on_both;

/// A directory with a database or an etcd, the program's link, and files.
pub struct Fixture {
    directory: tempfile::TempDir,
    server: Option<Server>,
    cluster: Option<kubernetes::server::Server>,
}

/// What a command said, and how it ended.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

/// It succeeded and said this.
pub fn ok(out: &str) -> Said {
    Said { out: out.to_owned(), err: String::new(), code: Some(0) }
}

/// It failed, and said these.
pub fn failed(out: &str, err: &str) -> Said {
    Said { out: out.to_owned(), err: err.to_owned(), code: Some(1) }
}

impl Fixture {
    pub fn on(on: On) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tortie"), directory.path().join("calicoctl")).unwrap();
        let server = (on == On::Etcd).then(|| {
            Server::start(Start { directory: directory.path().join("etcd"), ..Start::default() }).unwrap()
        });
        let cluster = (on == On::Kubernetes).then(|| {
            let directory = directory.path().join("cluster");
            let start = kubernetes::server::Start { directory, ..kubernetes::server::Start::default() };
            kubernetes::server::Server::start(start).unwrap()
        });
        Fixture { directory, server, cluster }
    }

    /// kubectl, as the cluster's administrator.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.cluster.as_ref().unwrap().kubectl(arguments, input).unwrap()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The datastore that the commands use.
    pub fn store(&self) -> Arc<dyn Datastore> {
        if let Some(server) = &self.server {
            return Arc::new(Etcd::open(etcd::Options::new(vec![server.endpoint()])).unwrap());
        }
        if let Some(cluster) = &self.cluster {
            return Arc::new(Kubernetes::open(cluster.options().unwrap()).unwrap());
        }
        let options =
            Options { durability: Durability::Normal, ..Options::new(self.path().join("tortie.db")) };
        Arc::new(Embedded::open(options).unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path().join("calicoctl"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("DATASTORE_TYPE")
            .env_remove("CNI_COMMAND")
            .env("TORTIE_DATABASE", self.path().join("tortie.db"))
            .env("TORTIE_DATABASE_SYNC", "normal");
        if let Some(server) = &self.server {
            command.env("ETCD_ENDPOINTS", server.endpoint().to_string());
        }
        if let Some(cluster) = &self.cluster {
            command.env("DATASTORE_TYPE", "kubernetes").env("KUBECONFIG", cluster.kubeconfig());
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// Runs with `input` as standard input.
    pub fn pipe(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(child.wait_with_output().unwrap())
    }

    /// Runs what must succeed.
    pub fn must(&self, arguments: &[&str], input: &str) -> String {
        let said = self.pipe(arguments, input);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&said.out).unwrap()
    }
}

fn said(output: Output) -> Said {
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// A pool, as YAML.
pub fn mk_pool(name: &str, cidr: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  cidr: {cidr}\n"
    )
}
