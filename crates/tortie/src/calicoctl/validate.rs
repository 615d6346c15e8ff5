//! `calicoctl validate`: what `apply` would say of objects, without a datastore.

use std::process::ExitCode;

use clap::Args;

use crate::objects::{self, Common, Done, Failure, Outcome, Style, Verb};

/// The arguments of `calicoctl validate`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// Validates what the files hold.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = Verb { present: "validate", past: "validated", style: Style::Summary };
    objects::report(outcome(&arguments.common), &verb)
}

fn outcome(common: &Common) -> Result<Outcome, Failure> {
    let items = objects::items(common, None)?;
    let mut outcome = Outcome::default();
    outcome.expects(&items);
    for mut item in items.iter() {
        match objects::place(&mut item, common.namespace.as_deref()) {
            Ok(()) => outcome.ended(objects::validated(&item).map(|object| Done::with(&object))),
            Err(message) => outcome.misplaced(message),
        }
    }
    Ok(outcome)
}
