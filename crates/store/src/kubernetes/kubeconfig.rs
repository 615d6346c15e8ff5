//! kubectl's settings, `kubeconfig`: which server, whom we trust, who we are. What doesn't fit is named by file and field.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tortie_api::yaml::tree::{self, Data, Node};

use super::options::{Credentials, Options, Plugin, server};
use crate::wire::Pem;
use crate::{Error, Result};

/// One file, and where paths in it begin.
struct File {
    path: PathBuf,
    root: Node,
}

/// A map in a file, and where it stands there.
struct Map<'a> {
    file: &'a File,
    place: String,
    node: &'a Node,
}

/// Read the files of `paths`, as the variable KUBECONFIG lists them: of what is named twice the first counts.
///
/// # Errors
/// [`Error::Unavailable`] with the file and the field.
pub fn read(paths: &[PathBuf], context: Option<&str>) -> Result<Options> {
    let mut files = Vec::new();
    for path in paths {
        match std::fs::read_to_string(path) {
            Ok(text) => files.push(File::parse(path, &text)?),
            // kubectl leaves out what isn't there, if there are several.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && paths.len() > 1 => {}
            Err(error) => return Err(Error::unavailable(format!("read {}", path.display()), error)),
        }
    }
    let Some(first) = files.first() else {
        let list = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Error::unavailable("read the kubeconfig", format!("none of {list} is there")));
    };
    let roots: Vec<Map<'_>> =
        files.iter().map(|file| Map { file, place: String::new(), node: &file.root }).collect();
    let given = context.map(str::to_owned);
    let current = match given {
        Some(name) => Some(name),
        None => roots
            .iter()
            .map(|root| root.text("current-context"))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty()),
    };
    let Some(current) = current else {
        return Err(first.wrong("current-context", "found nothing, expected the name of a context"));
    };
    let context = named(&roots, "contexts", "context", &current, "current-context")?;
    let cluster = context.must("cluster")?;
    let cluster = named(&roots, "clusters", "cluster", &cluster, "context.cluster")?;
    let (endpoint, path) = {
        let found = cluster.must("server")?;
        server(&found)
            .ok_or_else(|| cluster.wrong("server", &format!("found {found:?}, expected https://HOST:PORT")))?
    };
    let mut options = Options::new(endpoint, path);
    options.authority = cluster.pem("certificate-authority")?;
    options.insecure = cluster.flag("insecure-skip-tls-verify")?;
    options.server_name = cluster.text("tls-server-name")?.filter(|name| !name.is_empty());
    if let Some(user) = context.text("user")?.filter(|user| !user.is_empty()) {
        let user = named(&roots, "users", "user", &user, "context.user")?;
        options.certificate = match (user.pem("client-certificate")?, user.pem("client-key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(user.wrong("client-key", "found nothing, expected the key of client-certificate"));
            }
            (None, Some(_)) => {
                return Err(
                    user.wrong("client-certificate", "found nothing, expected the certificate of client-key")
                );
            }
        };
        options.credentials = credentials(&user)?;
    }
    Ok(options)
}

fn credentials(user: &Map<'_>) -> Result<Credentials> {
    if let Some(path) = user.text("tokenFile")?.filter(|path| !path.is_empty()) {
        return Ok(Credentials::File(user.file.beside(&path)));
    }
    if let Some(token) = user.text("token")?.filter(|token| !token.is_empty()) {
        return Ok(Credentials::Token(token));
    }
    if let Some(name) = user.text("username")? {
        return Ok(Credentials::Password { name, password: user.text("password")?.unwrap_or_default() });
    }
    let Some(exec) = user.map("exec")? else {
        return match user.map("auth-provider")? {
            None => Ok(Credentials::None),
            Some(found) => {
                Err(found.wrong("", "found an auth-provider, which Kubernetes 1.26 dropped; expected exec"))
            }
        };
    };
    let mut environment = Vec::new();
    for item in exec.list("env")? {
        environment.push((item.must("name")?, item.text("value")?.unwrap_or_default()));
    }
    let command = exec.must("command")?;
    // A path with a slash is the file's neighbour, a name alone is looked up.
    let program = if command.contains('/') { exec.file.beside(&command) } else { PathBuf::from(&command) };
    Ok(Credentials::Plugin(Plugin {
        program,
        arguments: exec.texts("args")?,
        environment,
        version: exec.must("apiVersion")?,
    }))
}

/// The entry `name` of the list `list`, of all files.
fn named<'a>(roots: &[Map<'a>], list: &str, field: &str, name: &str, asked: &str) -> Result<Map<'a>> {
    for root in roots {
        for entry in root.list(list)? {
            if entry.text("name")?.as_deref() == Some(name) {
                return entry.map(field)?.ok_or_else(|| entry.wrong(field, "found nothing, expected a map"));
            }
        }
    }
    let file = roots.first().map(|root| root.file.path.display().to_string()).unwrap_or_default();
    let cause = format!("{asked}: found {name:?}, expected a name in {list}");
    Err(Error::unavailable(format!("read {file}"), cause))
}

impl File {
    fn parse(path: &Path, text: &str) -> Result<File> {
        let (documents, errors) = tree::read(text);
        if let Some(error) = errors.first() {
            return Err(Error::unavailable(format!("read {}", path.display()), error));
        }
        let file = |root| File { path: path.to_owned(), root };
        match documents.into_iter().next() {
            Some(root) if matches!(root.data, Data::Map(_)) => Ok(file(root)),
            _ => Err(Error::unavailable(
                format!("read {}", path.display()),
                "it is no kubeconfig: expected a map",
            )),
        }
    }

    /// A path that the file names.
    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn wrong(&self, field: &str, cause: &str) -> Error {
        Error::unavailable(format!("read {}", self.path.display()), format!("{field}: {cause}"))
    }
}

impl<'a> Map<'a> {
    fn wrong(&self, field: &str, cause: &str) -> Error {
        let line = self.node.mark.line;
        self.file.wrong(&self.at(field), &format!("{cause} (line {line})"))
    }

    fn at(&self, field: &str) -> String {
        let dot = if self.place.is_empty() || field.is_empty() { "" } else { "." };
        format!("{}{dot}{field}", self.place)
    }

    fn field(&self, name: &str) -> Option<&'a Node> {
        match &self.node.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// A text; numbers and bools are texts as they are written.
    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.field(name).map(|node| &node.data) {
            None => Ok(None),
            Some(Data::Plain(text, _) | Data::Text(text)) if text == "null" || text == "~" => Ok(None),
            Some(Data::Plain(text, _) | Data::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(name, "found a map or list, expected a text")),
        }
    }

    fn must(&self, name: &str) -> Result<String> {
        let found = self.text(name)?.filter(|text| !text.is_empty());
        found.ok_or_else(|| self.wrong(name, "found nothing, expected a text"))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.text(name)?.as_deref() {
            None | Some("" | "false") => Ok(false),
            Some("true") => Ok(true),
            Some(found) => Err(self.wrong(name, &format!("found {found:?}, expected true or false"))),
        }
    }

    fn map(&self, name: &str) -> Result<Option<Map<'a>>> {
        match self.field(name) {
            None => Ok(None),
            Some(node) if matches!(node.data, Data::Map(_)) => {
                Ok(Some(Map { file: self.file, place: self.at(name), node }))
            }
            Some(Node { data: Data::Plain(text, _), .. }) if text == "null" || text.is_empty() => Ok(None),
            Some(_) => Err(self.wrong(name, "expected a map")),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<Map<'a>>> {
        let items = self.items(name)?;
        let maps = items.iter().enumerate().map(|(number, node)| Map {
            file: self.file,
            place: format!("{}[{number}]", self.at(name)),
            node,
        });
        Ok(maps.collect())
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let text = |node: &Node| match &node.data {
            Data::Plain(text, _) | Data::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong(name, "expected a list of texts")),
        };
        self.items(name)?.iter().map(text).collect()
    }

    fn items(&self, name: &str) -> Result<&'a [Node]> {
        match self.field(name).map(|node| &node.data) {
            None => Ok(&[]),
            Some(Data::List(items)) => Ok(items),
            Some(Data::Plain(text, _)) if text == "null" || text.is_empty() => Ok(&[]),
            Some(_) => Err(self.wrong(name, "expected a list")),
        }
    }

    /// `NAME-data` in base64, or `NAME` as a file.
    fn pem(&self, name: &str) -> Result<Option<Pem>> {
        let data = format!("{name}-data");
        if let Some(text) = self.text(&data)?.filter(|text| !text.is_empty()) {
            let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let expected = "expected a certificate or key (PEM) in base64";
            return bytes.map(|text| Some(Pem::Text(text))).ok_or_else(|| self.wrong(&data, expected));
        }
        let path = self.text(name)?.filter(|path| !path.is_empty());
        Ok(path.map(|path| Pem::File(self.file.beside(&path))))
    }
}
