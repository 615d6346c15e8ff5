//! Objects from files: one, a directory's, or standard input's.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tortie_api::decode::{self, Document, Object};
use tortie_api::fault::Fault;

use super::{Failure, Item, Items, Source, is_handled};
use crate::command::input;

/// The objects of a file, of all YAML and JSON files of a directory, or of standard input (`-`).
///
/// # Errors
/// [`Failure`], with every fault of the first file that has one.
pub fn read(path: &Path, recursive: bool, skip_empty: bool) -> Result<Items, Failure> {
    let mut items = Items::default();
    each(path, recursive, skip_empty, |item| items.extend([item]))?;
    Ok(items)
}

/// The same one by one, until there is a fault.
///
/// # Errors
/// As [`read`].
pub fn each(
    path: &Path,
    recursive: bool,
    skip_empty: bool,
    mut item: impl FnMut(Item),
) -> Result<(), Failure> {
    let mut count = 0_usize;
    for input::Input { name, text } in
        input::read(path, recursive).map_err(|error| unreadable(path, &error))?
    {
        let file: Arc<str> = name.as_str().into();
        let before = count;
        let mut faults = Vec::new();
        let faults_of_text = decode::each(&text, |document| match handled(document) {
            Ok(Object { kind, json, places }) => {
                count += 1;
                item(Item { kind, json, source: Some(Source { file: file.clone(), places }) });
            }
            Err(found) => faults.extend(found),
        });
        faults.extend(faults_of_text);
        if !faults.is_empty() {
            faults.sort_by_key(|fault| (fault.line, fault.column));
            return Err(Failure::File { name, faults });
        }
        if count == before && !skip_empty {
            return Err(Failure::Empty(format!("No resources specified in file {name}")));
        }
    }
    match (count == 0, skip_empty) {
        (false, _) => Ok(()),
        (true, true) => Err(Failure::Nothing),
        (true, false) => {
            Err(Failure::Empty(format!("No resources specified in directory {}", path.display())))
        }
    }
}

/// A file that can't be read, in Go's words where it isn't there.
fn unreadable(path: &Path, error: &anyhow::Error) -> Failure {
    let missing = error.root_cause().downcast_ref::<std::io::Error>();
    let message = match missing.map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) => format!("open {}: no such file or directory", path.display()),
        _ => format!("{error:#}"),
    };
    Failure::File { name: String::new(), faults: vec![Fault::new("", message)] }
}

/// A document's object, if nothing is wrong with it. Kinds that exist, but not for commands, are as unknown as others.
fn handled(document: Document) -> Result<Object, Vec<Fault>> {
    match document.object {
        Some(object) if !is_handled(object.kind) => {
            let (name, version) = (object.kind.name(), object.kind.api().version());
            let message = format!("unknown resource type ({name}) and/or version ({version})");
            let fault = Fault::new("kind", message).expected("a kind that commands handle");
            Err(object.place(vec![fault]))
        }
        Some(object) if document.faults.is_empty() => Ok(object),
        _ => Err(document.faults),
    }
}
