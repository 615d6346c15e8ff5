//! What is wrong with a user's input, in Calico's words and with the place in the file.
//!
//! `decode` and `validate` find faults and go on, so that a user sees all of them at once. A
//! fault never stops anything by itself: commands decide.

use std::fmt;

use serde::Serialize;

use crate::yaml::tree::Mark;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What Calico's tools say of it, where they say anything; else our own words.
    pub message: String,
    /// Line from 1; 0 where there is no file.
    pub line: usize,
    /// Column from 1, in characters; 0 where there is no file.
    pub column: usize,
    /// The field, `spec.ingress[0].source.nets[1]`; empty for the document itself.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What was expected there.
    pub expected: String,
}

impl Fault {
    /// A fault without a place.
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            line: 0,
            column: 0,
            field: field.to_owned(),
            found: String::new(),
            expected: String::new(),
        }
    }

    /// The same fault at a place.
    #[must_use]
    pub fn at(mut self, mark: Mark) -> Self {
        (self.line, self.column) = (mark.line, mark.column);
        self
    }

    /// The same fault with what was found.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = found.into();
        self
    }

    /// The same fault with what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }
}

impl fmt::Display for Fault {
    /// `LINE:COLUMN: FIELD: MESSAGE (found FOUND, expected EXPECTED)`, without what is empty.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(formatter, "{}:{}: ", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)?;
        // Where Calico's words say what was expected, once is enough.
        let said = self.expected.is_empty() || self.message.contains(&self.expected);
        match (self.found.is_empty(), said) {
            (true, true) => Ok(()),
            (false, true) => write!(formatter, " (found {})", self.found),
            (true, false) => write!(formatter, " (expected {})", self.expected),
            (false, false) => write!(formatter, " (found {}, expected {})", self.found, self.expected),
        }
    }
}
