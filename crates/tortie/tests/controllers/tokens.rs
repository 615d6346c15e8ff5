//! The token of the plugin's account, which an agent asks for.

use std::path::Path;
use std::time::Duration;

use tortie_agent::kubernetes::Machine;
use tortie_store::kubernetes::server::options;
use tortie_store::kubernetes::{Credentials, Kubernetes};

use crate::lab::Lab;

fn machine(config: &Path) -> Machine {
    Machine::new(Kubernetes::open(options(config).unwrap()).unwrap(), "n1".to_owned())
}

#[test]
fn an_agent_gets_the_plugins_token_for_a_day_and_nobody_elses() {
    let lab = Lab::start();
    let agent = machine(&lab.account("tortie-node"));
    let (token, left) = agent.token("kube-system", "tortie-cni-plugin").unwrap();
    assert!(left > Duration::from_secs(23 * 3600) && left <= Duration::from_secs(24 * 3600), "{left:?}");
    // It is the plugin's: it reads pools, and no secrets.
    let mut plugin = lab.server.options().unwrap();
    plugin.credentials = Credentials::Token(token);
    let plugin = Kubernetes::open(plugin).unwrap();
    assert!(plugin.object_at("/apis/crd.projectcalico.org/v1/ippools").unwrap().is_some());
    let refused = plugin.object_at("/api/v1/namespaces/kube-system/secrets").unwrap_err().to_string();
    assert!(
        refused.contains("system:serviceaccount:kube-system:tortie-cni-plugin") && refused.contains("RBAC"),
        "{refused}"
    );

    let refused = agent.token("kube-system", "tortie-controllers").unwrap_err().to_string();
    assert!(refused.contains("serviceaccounts/token") && refused.contains("RBAC"), "{refused}");
    let missing = machine(&lab.server.kubeconfig()).token("kube-system", "nobody").unwrap_err().to_string();
    assert!(
        missing.contains("kube-system/nobody") && missing.contains("CALICO_CNI_SERVICE_ACCOUNT"),
        "{missing}"
    );
}
