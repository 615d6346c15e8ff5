//! What came of a command on objects, in calicoctl's words.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use serde_json::Value;
use tortie_api::fault::Fault;
use tortie_api::kind::Kind;
use tortie_api::resource::Resource;
use tortie_calc::NotEnforced;
use tortie_store::Error;
use tortie_store::resources::Client;

use super::Items;
use crate::calicoctl;

/// A command's verb, as messages have it.
#[derive(Debug)]
pub struct Verb {
    /// `apply`
    pub present: &'static str,
    /// `applied`
    pub past: &'static str,
    /// How partial failure is told.
    pub style: Style,
}

/// How a command tells what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All faults in one summary: `apply` and `create`.
    Summary,
    /// The last fault, and all that were tried as done: `replace` and no other command of calicoctl's.
    Last,
    /// A line each: `delete`.
    Lines,
}

/// What came of a command's objects.
#[derive(Debug, Default)]
pub struct Outcome {
    total: usize,
    /// The kind's name, if there is only one.
    single_kind: Option<&'static str>,
    done: usize,
    /// How many had no place: a namespace that they must not have, or two.
    misplaced: usize,
    /// What of what came back isn't enforced yet, in order.
    warnings: Vec<String>,
    /// What failed, in order.
    pub errors: Vec<String>,
    /// Where in the files, a line each.
    places: Vec<String>,
    /// What isn't known of what was being written when the datastore was lost, and how many came after that.
    broken_off: Option<(String, usize)>,
}

/// Objects of which nobody knows whether they were written.
#[derive(Debug)]
pub enum Unknown {
    /// All of them, or none.
    Together(Vec<String>),
    /// Each or not.
    Each(Vec<String>),
}

/// What is told of an object that is done: what of it isn't enforced yet.
#[derive(Debug)]
pub struct Done(Option<String>);

impl Done {
    /// This came back.
    pub fn with(object: &Value) -> Done {
        Done(if tells_more() { warning(object) } else { None })
    }
}

/// What an object was refused for.
#[derive(Debug)]
pub struct Refusal {
    /// In Calico's words.
    pub message: String,
    /// Where in the file, a line each.
    pub places: Vec<String>,
    /// Whether the datastore is lost, so that trying more is of no use.
    pub is_lost: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let is_lost =
            matches!(error, Error::Unavailable { .. } | Error::Unknown { .. } | Error::Replaced { .. });
        Refusal { is_lost, ..Refusal::from(error.to_string()) }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal { message, places: Vec::new(), is_lost: false }
    }
}

impl Refusal {
    /// All `faults` of an object that was read from `file`, in the words of Calico's client.
    pub fn of_faults(file: &str, faults: &[Fault]) -> Refusal {
        const WORDS: &str = "error with field ";
        let message = match faults {
            [fault] => fault.message.clone(),
            faults => faults.iter().fold("error with the following fields:\n".to_owned(), |text, fault| {
                format!("{text}-  {}\n", fault.message.strip_prefix(WORDS).unwrap_or(&fault.message))
            }),
        };
        let places = faults.iter().map(|fault| format!("  {file}:{fault}")).collect();
        Refusal { places, ..Refusal::from(message) }
    }
}

/// Why a command did nothing, or not all.
#[derive(Debug)]
pub enum Failure {
    /// There was nothing to do, which was fine.
    Nothing,
    /// A file held nothing.
    Empty(String),
    /// A file holds faults.
    File {
        /// The file's name, `-` for standard input.
        name: String,
        /// What is wrong with it.
        faults: Vec<Fault>,
    },
    /// Anything else, in words.
    Command(String),
    /// The same, for standard output.
    Printed(String),
}

impl Outcome {
    /// These are to be handled too.
    pub fn expects(&mut self, items: &Items) {
        let kind = items.single_kind().map(Kind::name);
        if self.total == 0 {
            self.single_kind = kind;
        } else if self.single_kind != kind && !items.is_empty() {
            self.single_kind = None;
        }
        self.total += items.len();
    }

    /// The datastore was lost when these were being written; `rest` weren't tried.
    pub fn broken_off(&mut self, unknown: &Unknown, rest: usize) {
        let (Unknown::Together(ids) | Unknown::Each(ids)) = unknown;
        let unknown = match (ids.as_slice(), unknown) {
            ([], _) => String::new(),
            ([one], _) => format!("{one} may be or not; "),
            ([first, .., last], Unknown::Together(_)) => {
                format!("{first} to {last} may be or not, all {} or none; ", ids.len())
            }
            (several, Unknown::Each(_)) => format!("each of {} may be or not; ", several.join(", ")),
        };
        self.broken_off = Some((unknown, rest));
    }

    /// One is done or failed.
    pub fn ended(&mut self, result: Result<Done, Refusal>) {
        match result {
            Ok(Done(warning)) => {
                self.done += 1;
                self.warnings.extend(warning);
            }
            Err(refusal) => self.failed(refusal),
        }
    }

    /// One wasn't tried, since its namespace is wrong.
    pub fn misplaced(&mut self, message: String) {
        self.misplaced += 1;
        self.failed(Refusal::from(message));
    }

    /// One failed.
    pub fn failed(&mut self, refusal: Refusal) {
        self.errors.push(refusal.message);
        if tells_more() {
            self.places.extend(refusal.places);
        }
    }

    /// Print what was done; what was not is the error.
    pub fn summary(self, verb: &Verb) -> Result<(), Failure> {
        let mut places: String = self.places.iter().map(|place| format!("\n{place}")).collect();
        let Verb { present, past, style } = *verb;
        if let Some((unknown, rest)) = &self.broken_off {
            let hint = match present {
                "create" => " with --skip-exists",
                "delete" => " with --skip-not-exists",
                _ => "",
            };
            places += &format!(
                "\n  {past}: {} of {}; {unknown}not tried: {rest}. Run it again{hint} to finish.",
                self.done, self.total
            );
        }
        if !matches!(present, "delete" | "validate") {
            self.warnings.iter().for_each(|warning| eprintln!("{warning}"));
        }
        let (done, failed) = (self.done, self.errors.len());
        let of_kind = self.single_kind.map(|kind| format!(" '{kind}'")).unwrap_or_default();
        if style == Style::Lines {
            if done > 0 {
                println!("Successfully {past} {done}{of_kind} resource(s)");
            }
            let lines: String = self
                .errors
                .iter()
                .map(|error| format!("Failed to {present}{of_kind} resource: {error}\n"))
                .chain(self.broken_off.map(|_| places.trim_start().to_owned()))
                .collect();
            return if lines.is_empty() { Ok(()) } else { Err(Failure::Command(lines)) };
        }
        if failed == 0 {
            println!("Successfully {past} {done}{of_kind} resource(s)");
            return Ok(());
        }
        let errors = match style {
            Style::Last => self.errors.last().cloned().unwrap_or_default(),
            Style::Summary | Style::Lines => format!("[{}]", self.errors.join(" ")),
        };
        // To calicoctl a replacement that the datastore refuses counts as handled; only one that can't be placed doesn't.
        let counts_all = style == Style::Last && calicoctl::called();
        let handled = if counts_all { self.total - self.misplaced } else { done };
        if handled == 0 && (counts_all || style == Style::Summary) {
            let what = match (self.total, self.single_kind) {
                (1, Some(kind)) => format!("'{kind}' resource"),
                (_, Some(kind)) => format!("any '{kind}' resources"),
                (_, None) => "any resources".to_owned(),
            };
            return Err(Failure::Command(format!("failed to {present} {what}: {errors}{places}")));
        }
        // calicoctl counts so: it says so only if more was done than failed, and of a replacement always.
        if done > failed || counts_all {
            println!("Partial success: {past} the first {handled} out of {}{of_kind} resources:", self.total);
        }
        Err(Failure::Command(format!("hit error: {errors}{places}")))
    }
}

/// Whether more is told than Calico's words: where in a file a fault is, and what isn't enforced. Scripts written for calicoctl get
/// its words alone.
pub fn tells_more() -> bool {
    !calicoctl::called() || std::io::stderr().is_terminal()
}

/// What of an object that was stored isn't enforced yet, in the words of `tortie status`.
fn warning(object: &Value) -> Option<String> {
    let id = Client::key_of(object).ok()?;
    let resource = Resource::from_value(id.kind, object).ok()?;
    let NotEnforced { effect, reason } = tortie_calc::not_enforced(&resource)?;
    Some(format!("Warning: {id} {effect}: {reason}"))
}

impl Failure {
    /// Neither a file nor a kind was given.
    pub fn nothing() -> Failure {
        Failure::Command("No resources specified".to_owned())
    }

    /// The same, with words before what went wrong; they don't belong before faults of files, which have their own.
    pub fn during(self, words: &str) -> Failure {
        match self {
            Failure::Command(message) | Failure::Empty(message) => {
                Failure::Command(format!("{words}: {message}"))
            }
            other => other,
        }
    }

    /// Print it, and say how the command ends.
    pub fn print(self) -> ExitCode {
        match self {
            Failure::Nothing => {
                println!("No resources specified");
                return ExitCode::SUCCESS;
            }
            Failure::Printed(message) => println!("{message}"),
            Failure::Empty(message) | Failure::Command(message) => eprintln!("{message}"),
            Failure::File { name, faults } => {
                // An unknown field is told without the words before it.
                match faults.first().map(|fault| fault.message.as_str()) {
                    Some(message) if message.starts_with("field in document is not recognized") => {
                        eprintln!("{message}");
                    }
                    message => eprintln!("failed to execute command: {}", message.unwrap_or_default()),
                }
                for fault in faults.iter().filter(|fault| fault.line > 0 && tells_more()) {
                    eprintln!("  {name}:{fault}");
                }
            }
        }
        ExitCode::FAILURE
    }
}
