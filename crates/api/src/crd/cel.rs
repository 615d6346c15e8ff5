//! The abbreviations in which rules are written, and the CEL that they stand for.
//!
//! ```text
//! full(a)             a is there and holds something
//! flag(a)             a is there and true
//! lists(a, X)         the list a has the text X
//! mentions(a, f)      the text a calls the function f
//! speaks(a, TCP, 6)   the protocol a is the one of that name or number
//! encapsulates(a)     the mode a is there and isn't Never
//! ```
//! A field may have a path: `full(destination.ports)`; what is on the way must be there.

/// The name, and what a call of it becomes: `$1` is the first argument.
const ABBREVIATIONS: [(&str, &str); 6] = [
    ("full", "(has(self.$1) && size(self.$1) > 0)"),
    ("flag", "(has(self.$1) && self.$1)"),
    ("lists", "(has(self.$1) && '$2' in self.$1)"),
    ("mentions", "(has(self.$1) && self.$1.contains('$2('))"),
    ("speaks", "(has(self.$1) && (self.$1 == '$2' || self.$1 == $3))"),
    ("encapsulates", "(has(self.$1) && size(self.$1) > 0 && self.$1 != 'Never')"),
];

/// The rule in CEL.
pub fn expand(rule: &str) -> String {
    let mut out = rule.to_owned();
    for (name, form) in ABBREVIATIONS {
        let call = format!("{name}(");
        while let Some(start) = out.find(&call) {
            let Some(length) = out[start..].find(')') else { break };
            let arguments = out[start + call.len()..start + length].split(", ");
            let written = arguments.enumerate().fold(form.to_owned(), |form, (at, argument)| {
                form.replace(&format!("${}", at + 1), argument)
            });
            out.replace_range(start..=start + length, &written);
        }
    }
    out
}
