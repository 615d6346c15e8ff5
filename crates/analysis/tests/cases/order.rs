//! Tiers, order, types, actions.

use serde_json::json;
use tortie_api::kind::Kind;

use crate::support::{World, on_db};

const WEB_TO_DB: &str = "shop/web -> shop/db tcp/5432";

/// `order`: policies with a lower order are applied first.
#[test]
fn the_lower_order_goes_first() {
    let world = World::new()
        .policy(
            "shop/late",
            json!({"order": 10, "selector": "app == 'db'", "ingress": [{"action": "Allow"}]}),
        )
        .policy(
            "shop/soon",
            json!({"order": -3.5, "selector": "app == 'db'", "ingress": [{"action": "Deny"}]}),
        );
    assert_eq!(world.ingress(WEB_TO_DB), "deny shop/soon#0");
}

/// `order`: a policy without order is applied after all that have one.
#[test]
fn no_order_goes_last() {
    let world = World::new()
        .policy("shop/a", on_db(json!({"action": "Allow"})))
        .policy("shop/z", json!({"order": 1e15, "selector": "app == 'db'", "ingress": [{"action": "Deny"}]}));
    assert_eq!(world.ingress(WEB_TO_DB), "deny shop/z#0");
}

/// `order`: equal orders are decided by name; as Calico does it, by the text `name/namespace/kind`,
/// so that `a-b` is before `a` (a hyphen is before a slash).
#[test]
fn equal_orders_are_decided_by_name_namespace_and_kind() {
    let world = World::new()
        .policy("shop/a", on_db(json!({"action": "Allow"})))
        .policy("shop/a-b", on_db(json!({"action": "Deny"})));
    assert_eq!(world.ingress(WEB_TO_DB), "deny shop/a-b#0");
    // "a//GlobalNetworkPolicy" is before "a/shop/NetworkPolicy".
    let world = World::new()
        .policy("shop/a", on_db(json!({"action": "Allow"})))
        .global("a", on_db(json!({"action": "Deny"})));
    assert_eq!(world.ingress(WEB_TO_DB), "deny a#0");
}

/// `Tier.order`: tiers with a lower order are applied first; one without order last, so after `default`;
/// equal orders are decided by name.
#[test]
fn tiers_go_by_order_and_then_by_name() {
    let rule =
        |tier, action| json!({"tier": tier, "selector": "app == 'db'", "ingress": [{"action": action}]});
    let world = World::new()
        .tier("late", json!({}))
        .tier("z-early", json!({"order": 5}))
        .tier("early", json!({"order": 5}))
        .global("in-late", rule("late", "Deny"))
        .global("in-default", rule("default", "Pass"))
        .global("in-z", rule("z-early", "Pass"))
        .global("in-early", rule("early", "Pass"));
    assert_eq!(world.ingress(WEB_TO_DB), "pass in-early#0, pass in-z#0, pass in-default#0, deny in-late#0");
}

/// `Tier.defaultAction`: Deny if none is given, at the end of a tier, for endpoints that one of its
/// policies applies to; told as rule -1 of the first of them.
#[test]
fn a_tier_denies_at_its_end_whom_it_selects() {
    let world = World::new()
        .policy("shop/b", on_db(json!({"action": "Allow", "protocol": "UDP"})))
        .policy("shop/a", on_db(json!({"action": "Allow", "protocol": "SCTP"})));
    assert_eq!(world.ingress(WEB_TO_DB), "deny shop/a#-1");
    assert_eq!(world.ingress("shop/web -> shop/cache tcp/80"), "allow kns.shop#0");
}

/// `Tier.defaultAction: Pass` goes on with the next tier.
#[test]
fn a_tier_can_pass_at_its_end() {
    let world = World::new()
        .tier("soft", json!({"order": 1, "defaultAction": "Pass"}))
        .global("s", json!({"tier": "soft", "selector": "app == 'db'", "ingress": [{"action": "Deny", "protocol": "UDP"}]}))
        .policy("shop/p", on_db(json!({"action": "Allow"})));
    assert_eq!(world.ingress(WEB_TO_DB), "pass s#-1, allow shop/p#0");
    assert_eq!(world.ingress("shop/web -> shop/db udp/53"), "deny s#0");
}

/// The end of a tier is only for directions that its policies are of: an egress policy denies no ingress.
#[test]
fn a_tier_ends_for_each_direction_apart() {
    let world = World::new().policy("shop/p", json!({"types": ["Egress"], "egress": []}));
    assert_eq!(world.egress(WEB_TO_DB), "deny shop/p#-1");
    assert_eq!(world.ingress(WEB_TO_DB), "allow kns.shop#0");
}

/// `tier`: `default` if none is given; its order is 1,000,000.
#[test]
fn a_policy_without_tier_is_in_default() {
    let world = World::new()
        .tier("after", json!({"order": 1_000_001}))
        .tier("before", json!({"order": 999_999}))
        .global("x", json!({"tier": "after", "selector": "app == 'db'", "ingress": [{"action": "Deny"}]}))
        .global("y", json!({"tier": "before", "selector": "app == 'db'", "ingress": [{"action": "Pass"}]}))
        .policy("shop/p", on_db(json!({"action": "Allow"})));
    let answer = world.judge(WEB_TO_DB);
    assert_eq!(world.ingress(WEB_TO_DB), "pass y#0, allow shop/p#0");
    assert_eq!(answer.ingress.map(|side| side.by.tier().to_owned()), Some("default".to_owned()));
}

/// A policy of a tier that doesn't exist comes after all tiers, and what it selects is denied at its end.
#[test]
fn a_missing_tier_comes_last_and_denies() {
    let world = World::new()
        .tier("last", json!({}))
        .global("a", json!({"tier": "gone", "selector": "app == 'db'", "ingress": [{"action": "Log"}]}))
        .global("b", json!({"tier": "last", "selector": "app == 'db'", "ingress": [{"action": "Pass"}]}));
    assert_eq!(world.ingress(WEB_TO_DB), "pass b#0, log a#0, deny a#-1");
}

/// `types`: without any, Ingress if there are no egress rules (or no rules at all), Egress if there are only
/// egress rules, both if there are both.
#[test]
fn types_follow_the_rules_if_not_given() {
    let rule = json!([{"action": "Allow", "protocol": "ICMP"}]);
    for (spec, ingress, egress) in [
        (json!({}), true, false),
        (json!({"ingress": rule}), true, false),
        (json!({"egress": rule}), false, true),
        (json!({"ingress": rule, "egress": rule}), true, true),
    ] {
        let world = World::new().policy("shop/p", spec.clone());
        let denied = |text: String| text == "deny shop/p#-1";
        assert_eq!(denied(world.ingress(WEB_TO_DB)), ingress, "{spec}");
        assert_eq!(denied(world.egress(WEB_TO_DB)), egress, "{spec}");
    }
}

/// `types`: rules of a direction that isn't named don't count.
#[test]
fn rules_of_another_type_do_not_count() {
    let world = World::new().policy(
        "shop/p",
        json!({"types": ["Egress"], "ingress": [{"action": "Deny"}], "egress": [{"action": "Allow"}]}),
    );
    assert_eq!(world.ingress(WEB_TO_DB), "allow kns.shop#0");
    assert_eq!(world.egress(WEB_TO_DB), "allow shop/p#0");
}

/// Rules are applied in order, and the first that allows, denies or passes decides.
#[test]
fn the_first_rule_that_matches_decides() {
    let world = World::new().policy(
        "shop/p",
        json!({"selector": "app == 'db'", "ingress": [
            {"action": "Deny", "protocol": "UDP"},
            {"action": "Allow", "protocol": "TCP"},
            {"action": "Deny"},
        ]}),
    );
    assert_eq!(world.ingress(WEB_TO_DB), "allow shop/p#1");
    assert_eq!(world.ingress("shop/web -> shop/db sctp/5432"), "deny shop/p#2");
}

/// `Log`: the packet is logged and the next rule asked; the rule counts in the index.
#[test]
fn a_log_rule_never_decides() {
    let world = World::new().policy(
        "shop/p",
        json!({"selector": "app == 'db'", "ingress": [
            {"action": "Log"}, {"action": "Log", "protocol": "UDP"}, {"action": "Log"}, {"action": "Allow"},
        ]}),
    );
    assert_eq!(world.ingress(WEB_TO_DB), "log shop/p#0, log shop/p#2, allow shop/p#3");
}

/// `Pass`: the rest of the tier is skipped and the next tier asked; after the last, the profiles.
#[test]
fn pass_skips_the_rest_of_the_tier() {
    let world = World::new()
        .tier("t", json!({"order": 1}))
        .global(
            "a",
            json!({"tier": "t", "order": 1, "selector": "app == 'db'", "ingress": [{"action": "Pass"}]}),
        )
        .global(
            "b",
            json!({"tier": "t", "order": 2, "selector": "app == 'db'", "ingress": [{"action": "Deny"}]}),
        )
        .policy("shop/p", on_db(json!({"action": "Pass"})));
    assert_eq!(world.ingress(WEB_TO_DB), "pass a#0, pass shop/p#0, allow kns.shop#0");
}

/// Staged policies are not enforced, and a tier with nothing else doesn't end.
#[test]
fn a_staged_policy_is_not_enforced() {
    // There is no resource for it at all: what isn't enforced doesn't reach the cluster.
    for kind in
        [Kind::StagedNetworkPolicy, Kind::StagedGlobalNetworkPolicy, Kind::StagedKubernetesNetworkPolicy]
    {
        assert!(tortie_api::resource::Resource::from_json(kind, b"{}").is_err(), "{kind}");
    }
}

/// A packet passes only if the sender's egress and the receiver's ingress both allow it.
#[test]
fn both_sides_must_allow() {
    let world = World::new().policy("shop/p", on_db(json!({"action": "Deny"})));
    let answer = world.judge(WEB_TO_DB);
    assert_eq!(world.egress(WEB_TO_DB), "allow kns.shop#0");
    assert_eq!(answer.verdict.name(), "deny");
}

/// A pod that speaks to itself by its own address is judged on both sides.
#[test]
fn a_pod_to_itself_is_judged_on_both_sides() {
    let world = World::new().policy("shop/p", on_db(json!({"action": "Deny"})));
    assert_eq!(world.egress("shop/db -> shop/db tcp/1"), "allow kns.shop#0");
    assert_eq!(world.ingress("shop/db -> shop/db tcp/1"), "deny shop/p#0");
}
