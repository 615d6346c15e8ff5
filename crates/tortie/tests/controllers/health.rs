//! What probes of the controllers hear: with a Kubernetes API that goes and comes back, and of a process that is stopped.

use crate::lab::{Controllers, Lab, eventually, pool};

fn hears(controllers: &Controllers, what: &str, is_well: bool) -> String {
    let asked = || controllers.check(what);
    eventually(&format!("{what}: {is_well}"), asked, |(is, _)| *is == is_well).1
}

#[test]
fn without_its_api_neither_of_two_is_ready_and_both_live_and_when_it_is_back_both_are_ready() {
    let mut lab = Lab::start();
    pool(&lab.client());
    let leader = Controllers::on(&lab, "leader");
    leader.says("leading as");
    let other = Controllers::on(&lab, "other");
    other.says(" leads (Lease");
    for one in [&leader, &other] {
        assert_eq!(one.check("ready"), (true, "CalicoDatastore: well\n".to_owned()));
        assert_eq!(one.check("live"), (true, "Loops: well\n".to_owned()));
    }
    lab.server.kill();
    for one in [&leader, &other] {
        let said = hears(one, "ready", false);
        // No connection, or no answer in time: a killed server's connections take a moment to be gone.
        assert!(said.starts_with("CalicoDatastore: datastore unavailable: "), "{said}");
    }
    leader.says("the lead is lost");
    for one in [&leader, &other] {
        assert_eq!(one.check("live"), (true, "Loops: well\n".to_owned()));
    }
    lab.server.restart().unwrap();
    for one in [&leader, &other] {
        hears(one, "ready", true);
        assert!(one.check("live").0);
    }
}

#[test]
fn without_a_cluster_a_process_that_is_stopped_is_not_alive_until_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("tortie.db");
    let environment = [("DATASTORE_TYPE", "embedded"), ("TORTIE_DATABASE", database.to_str().unwrap())];
    let mut controllers = Controllers::start(directory.path(), "one", &environment);
    controllers.says("leading as");
    assert_eq!(controllers.check("ready"), (true, "CalicoDatastore: well\n".to_owned()));
    assert!(controllers.check("live").0);
    controllers.signal("-STOP");
    let (is_alive, said) = controllers.check("live");
    assert!(!is_alive && said.contains("no controllers answer at"), "{said}");
    controllers.signal("-CONT");
    hears(&controllers, "live", true);
    // Another one at the same place takes it over only when nobody answers there.
    controllers.kill();
    let (is_alive, said) = controllers.check("live");
    assert!(!is_alive && said.contains("no controllers answer at"), "{said}");
    let next = Controllers::start(directory.path(), "one", &environment);
    hears(&next, "live", true);
}

#[test]
fn switched_off_nothing_is_looked_at_but_that_somebody_answers() {
    let mut lab = Lab::start();
    let account = lab.account("tortie-controllers");
    let environment = [
        ("DATASTORE_TYPE", "kubernetes"),
        ("KUBECONFIG", account.to_str().unwrap()),
        ("HEALTH_ENABLED", "false"),
    ];
    let controllers = Controllers::start(lab.directory.path(), "one", &environment);
    hears(&controllers, "ready", true);
    lab.server.kill();
    assert_eq!(controllers.check("ready"), (true, "HealthChecks: well\n".to_owned()));
    assert_eq!(controllers.check("live"), (true, "HealthChecks: well\n".to_owned()));
}
