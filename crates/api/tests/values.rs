//! Values that are refused, with the words that users know; and each reason of Calico's validator given for something.

mod messages;
#[path = "messages/values.rs"]
mod values;

use std::collections::BTreeSet;

use messages::messages;
use values::VALUES;

#[test]
fn values_out_of_bounds_are_refused_in_the_words_that_users_know() {
    for (kind, spec, message) in VALUES {
        let found = messages(kind, "default", spec);
        assert!(
            found.iter().any(|found| found.contains(message)),
            "{kind} {spec}\nwanted: {message}\nfound: {found:#?}"
        );
    }
}

/// What Calico's validator says, taken from where it is said: every text with a few words in it.
fn reasons() -> BTreeSet<&'static str> {
    let source = include_str!("../src/validate/structs.rs");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let texts = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    texts.filter(|text| text.matches(' ').count() >= 1 && !text.contains('{')).collect()
}

#[test]
fn each_reason_of_calicos_validator_is_given_for_something() {
    let said: Vec<String> =
        VALUES.iter().flat_map(|(kind, spec, _)| messages(kind, "default", spec)).collect();
    // This one is about labels: see below.
    let elsewhere = "projectcalico.org/namespace is not a valid label name";
    let unsaid: Vec<&str> = reasons()
        .into_iter()
        .filter(|reason| {
            ![elsewhere, "Metadata.Labels (label)"].contains(reason)
                && !said.iter().any(|said| said.contains(reason))
        })
        .collect();
    assert_eq!(unsaid, Vec::<&str>::new(), "no object is refused for these");
}
