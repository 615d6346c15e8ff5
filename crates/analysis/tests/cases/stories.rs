//! Answers in plain words.

use serde_json::json;
use tortie_analysis::{judge, story};
use tortie_api::kind::Kind;

use crate::support::{World, flow, on_db};

fn tell(world: &World, text: &str) -> String {
    let cluster = world.cluster();
    let flow = flow(&cluster, text);
    story(&cluster, &flow, &judge(&cluster, &flow))
}

#[test]
fn a_story_names_tier_policy_and_rule_of_each_side() {
    let world = World::new()
        .policy(
            "shop/web-out",
            json!({"selector": "app == 'web'", "egress": [{"action": "Log"}, {"action": "Allow"}]}),
        )
        .policy("shop/db-in", on_db(json!({"action": "Allow", "protocol": "UDP"})));
    assert_eq!(
        tell(&world, "shop/web -> shop/db tcp/5432"),
        "shop/web (10.0.0.1) -> shop/db (10.0.0.2), TCP port 5432: denied
  leaving shop/web: logged by rule 0 of NetworkPolicy shop/web-out (tier default)
  leaving shop/web: allowed by rule 1 of NetworkPolicy shop/web-out (tier default)
  entering shop/db: denied at the end of tier default: NetworkPolicy shop/db-in applies, and no rule allows it
"
    );
}

#[test]
fn a_story_tells_of_profiles_hosts_and_strangers() {
    let world = World::new()
        .add(
            Kind::HostEndpoint,
            "h",
            "",
            json!({"node": "n", "interfaceName": "e", "expectedIPs": ["172.16.0.1"]}),
        )
        .pod("shop/x", "10.0.0.50", "", json!({"profiles": ["gone"]}));
    for (text, line) in [
        ("8.8.8.8 -> shop/web icmp/8.0", "entering shop/web: allowed by rule 0 of profile kns.shop"),
        ("8.8.8.8 -> shop/x 47", "entering shop/x: denied: its profile gone does not exist"),
        (
            "8.8.8.8 -> host:n tcp/80",
            "entering host endpoint h of n: denied: no policy applies or all pass, and no profile allows it",
        ),
        ("8.8.8.8 -> host:n tcp/22", "entering host endpoint h of n: allowed: a failsafe port of the host"),
        (
            "8.8.8.8 -> shop/web tcp/1 via:n",
            "forwarded by host endpoint h of n: allowed: no policy of the host speaks of forwarded packets like this",
        ),
        ("8.8.8.8 -> 9.9.9.9 tcp/1", "no endpoint of the cluster takes part: no policy judges it"),
    ] {
        let told = tell(&world, text);
        assert!(told.lines().any(|told| told.trim() == line), "{told}");
    }
}
