//! Profiles: rules after all tiers, and labels that endpoints inherit.

use serde_json::{Value, json};
use tortie_api::kind::Kind;

use crate::support::World;

const TO_X: &str = "8.8.8.8 -> shop/x tcp/80";

fn world(profiles: Value) -> World {
    World::new()
        .pod("shop/x", "10.0.0.50", "app=x", json!({"profiles": profiles}))
        .add(Kind::Profile, "open", "", json!({"ingress": [{"action": "Allow"}], "labelsToApply": {"zone": "a", "app": "other"}}))
        .add(Kind::Profile, "udp", "", json!({"ingress": [{"action": "Allow", "protocol": "UDP"}], "labelsToApply": {"zone": "b", "rack": "7"}}))
        .add(Kind::Profile, "shut", "", json!({"ingress": [{"action": "Deny"}]}))
        .add(Kind::Profile, "loud", "", json!({"ingress": [{"action": "Log"}]}))
}

/// Profiles are asked only if no policy decided: none applies, or all pass.
#[test]
fn profiles_come_after_policies() {
    assert_eq!(world(json!(["open"])).ingress(TO_X), "allow open#0");
    let denied = world(json!(["open"])).policy("shop/p", json!({}));
    assert_eq!(denied.ingress(TO_X), "deny shop/p#-1");
    let passed = world(json!(["open"])).policy("shop/p", json!({"ingress": [{"action": "Pass"}]}));
    assert_eq!(passed.ingress(TO_X), "pass shop/p#0, allow open#0");
}

/// Profiles are asked in the order in which the endpoint lists them; the first rule that matches decides.
#[test]
fn profiles_are_asked_in_order() {
    assert_eq!(world(json!(["udp", "shut", "open"])).ingress(TO_X), "deny shut#0");
    assert_eq!(world(json!(["udp", "open", "shut"])).ingress(TO_X), "allow open#0");
    assert_eq!(world(json!(["loud", "open"])).ingress(TO_X), "log loud#0, allow open#0");
}

/// If no profile has a rule that matches, or there is none, the packet is denied.
#[test]
fn no_profile_that_matches_denies() {
    assert_eq!(world(json!([])).ingress(TO_X), "deny __PROFILE__#-1");
    assert_eq!(world(json!(["udp"])).ingress(TO_X), "deny __PROFILE__#-1");
}

/// A profile that doesn't exist denies, even if a later one would allow.
#[test]
fn a_missing_profile_denies() {
    assert_eq!(world(json!(["gone", "open"])).ingress(TO_X), "deny gone#0");
    assert_eq!(world(json!(["open", "gone"])).ingress(TO_X), "allow open#0");
}

/// The profile `projectcalico-default-allow` is always there.
#[test]
fn the_default_profile_allows() {
    assert_eq!(
        world(json!(["projectcalico-default-allow"])).ingress(TO_X),
        "allow projectcalico-default-allow#0"
    );
}

/// A namespace's profile allows all; a service account's has labels and no rules.
#[test]
fn namespaces_allow_and_accounts_say_nothing() {
    assert_eq!(world(json!(["ksa.shop.web", "kns.shop"])).ingress(TO_X), "allow kns.shop#0");
    assert_eq!(world(json!(["ksa.shop.web"])).ingress(TO_X), "deny __PROFILE__#-1");
}

/// `labelsToApply`: the endpoint's own label beats a profile's, an earlier profile's beats a later's.
#[test]
fn labels_are_inherited_in_order() {
    for (selector, expected) in [
        ("zone == 'a'", true),
        ("zone == 'b'", false),
        ("rack == '7'", true),
        ("app == 'x'", true),
        ("app == 'other'", false),
    ] {
        let world = world(json!(["open", "udp"])).policy("shop/p", json!({"selector": selector}));
        assert_eq!(world.ingress(TO_X) == "deny shop/p#-1", expected, "{selector}");
    }
}

/// A profile that is stored goes before one of the same name that follows from a namespace.
#[test]
fn a_stored_profile_goes_before_a_derived_one() {
    let world = world(json!(["kns.shop"])).add(
        Kind::Profile,
        "kns.shop",
        "",
        json!({"ingress": [{"action": "Deny"}]}),
    );
    assert_eq!(world.ingress(TO_X), "deny kns.shop#0");
}
