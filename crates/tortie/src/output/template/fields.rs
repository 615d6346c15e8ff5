//! What a field is in a template, as Go has it: of a struct a field that doesn't exist is an error with its place, of a map it is
//! `<no value>`, and a pointer that isn't set is `<nil>`.
//!
//! The engine knows maps alone. So a struct is a map that carries its type's name, a pointer that isn't set is a map with
//! nothing but its type, and each field of a parsed template is put as a call of [`GET`] or, where it is printed, [`SHOW`].

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr};
use gotmpl::{TemplateError, Value};

use super::super::columns::print_float;

/// The function that fields become: a value, and the number of an [`Access`].
pub const GET: &str = "field of";

/// The same where the value is printed.
pub const SHOW: &str = "field printed";

/// Under this key a struct holds the name of its type.
const TYPE: &str = "\0type";

/// Under this key a pointer that isn't set holds the name of its type.
const UNSET: &str = "\0unset";

/// A struct of Go's.
pub fn structure(type_name: &str, mut fields: BTreeMap<Arc<str>, Value>) -> Value {
    fields.insert(TYPE.into(), Value::String(type_name.into()));
    Value::Map(Arc::new(fields))
}

/// A pointer that isn't set.
pub fn unset(type_name: &str) -> Value {
    Value::Map(Arc::new(BTreeMap::from([(UNSET.into(), Value::String(type_name.into()))])))
}

/// One place of a template that names fields.
#[derive(Debug, Clone)]
pub struct Access {
    path: Vec<String>,
    /// Where, in Go's words.
    place: String,
}

impl Access {
    /// What the fields of `value` hold.
    ///
    /// # Errors
    /// In Go's words, if a struct has no such field, or a pointer on the way isn't set.
    pub fn of(&self, value: &Value) -> Result<Value, TemplateError> {
        let failed = |what: String| Err(TemplateError::Exec(format!("{}: {what}", self.place)));
        let mut value = value.clone();
        for name in &self.path {
            let known = |type_name: String| format!("can't evaluate field {name} in type {type_name}");
            let next = match &value {
                Value::Map(fields) => {
                    match (fields.get(name.as_str()), marked(fields, TYPE), marked(fields, UNSET)) {
                        (Some(found), ..) => found.clone(),
                        (None, Some(type_name), _) => return failed(known(type_name)),
                        (None, None, Some(pointer)) => {
                            return failed(format!("nil pointer evaluating {pointer}.{name}"));
                        }
                        (None, None, None) => Value::Nil,
                    }
                }
                Value::Nil => Value::Nil,
                Value::List(_) => return failed(known("[]runtime.Object".to_owned())),
                Value::Bool(_) => return failed(known("bool".to_owned())),
                Value::Int(_) | Value::Uint(_) => return failed(known("int".to_owned())),
                Value::Float(_) => return failed(known("float64".to_owned())),
                _ => return failed(known("string".to_owned())),
            };
            value = next;
        }
        Ok(value)
    }
}

fn marked(fields: &BTreeMap<Arc<str>, Value>, key: &str) -> Option<String> {
    fields.get(key).map(ToString::to_string)
}

/// A value as functions and conditions take it: what isn't set is nothing.
pub fn plain(value: Value) -> Value {
    match &value {
        Value::Map(fields) if fields.contains_key(UNSET) => Value::Nil,
        _ => value,
    }
}

/// A value as Go prints it.
pub fn show(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        other => inner(other),
    }
}

fn inner(value: &Value) -> String {
    match value {
        Value::Map(fields) if fields.contains_key(UNSET) => "<nil>".to_owned(),
        Value::Map(fields) => {
            let entries = fields.iter().filter(|(name, _)| &***name != TYPE);
            match fields.contains_key(TYPE) {
                true => format!("{{{}}}", joined(entries.map(|(_, value)| inner(value)))),
                false => {
                    format!(
                        "map[{}]",
                        joined(entries.map(|(name, value)| format!("{name}:{}", inner(value))))
                    )
                }
            }
        }
        Value::List(items) => format!("[{}]", joined(items.iter().map(inner))),
        Value::Float(number) => print_float(*number),
        other => other.to_string(),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// Puts calls in the place of fields.
pub struct Rewriter<'text> {
    /// The template's text.
    text: &'text str,
    /// The template that is rewritten, by its name.
    name: String,
    /// What the calls are about, by number.
    pub accesses: Vec<Access>,
    /// What Go says of the first function that doesn't exist, if there is one.
    pub undefined: Option<String>,
}

/// The functions that there are.
const FUNCTIONS: [&str; 22] = [
    "and",
    "call",
    "config",
    "eq",
    "ge",
    "gt",
    "html",
    "index",
    "join",
    "joinAndTruncate",
    "js",
    "le",
    "len",
    "lt",
    "ne",
    "not",
    "or",
    "print",
    "printf",
    "println",
    "slice",
    "urlquery",
];

impl<'text> Rewriter<'text> {
    /// Nothing of `text` is rewritten yet.
    pub fn new(text: &'text str) -> Rewriter<'text> {
        Rewriter { text, name: String::new(), accesses: Vec::new(), undefined: None }
    }

    /// Rewrites the template of that name.
    pub fn template(&mut self, name: &str, list: &mut ListNode) {
        name.clone_into(&mut self.name);
        self.list(list);
    }

    fn list(&mut self, list: &mut ListNode) {
        list.nodes.iter_mut().for_each(|node| self.node(node));
    }

    fn node(&mut self, node: &mut Node) {
        match node {
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            Node::List(list) => self.list(list),
            Node::Define(define) => self.list(&mut define.body),
            Node::Action(action) => {
                let printed = action.pipe.decl.is_empty();
                self.pipe(&mut action.pipe, printed);
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                self.pipe(&mut branch.pipe, false);
                self.list(&mut branch.body);
                branch.else_body.iter_mut().for_each(|list| self.list(list));
            }
            Node::Template(template) => template.pipe.iter_mut().for_each(|pipe| self.pipe(pipe, false)),
        }
    }

    fn pipe(&mut self, pipe: &mut PipeNode, printed: bool) {
        let alone = matches!(&pipe.commands[..], [command] if command.args.len() == 1);
        for command in &mut pipe.commands {
            for expression in &mut command.args {
                self.expression(expression, printed && alone);
            }
        }
    }

    fn expression(&mut self, expression: &mut Expr, printed: bool) {
        let (pos, base, fields, before) = match expression {
            Expr::Pipe(_, pipe) => return self.pipe(pipe, false),
            Expr::Identifier(pos, function) if !FUNCTIONS.contains(&function.as_str()) => {
                let line = 1 + self.text.get(..pos.offset).unwrap_or_default().matches('\n').count();
                self.undefined.get_or_insert(format!(
                    "template: get:{line}: function {:?} not defined",
                    function.as_str()
                ));
                return;
            }
            Expr::Dot(pos) if printed => (*pos, Expr::Dot(*pos), Vec::new(), String::new()),
            Expr::Field(pos, fields) => (*pos, Expr::Dot(*pos), fields.clone(), String::new()),
            Expr::Variable(pos, name, fields) if printed || !fields.is_empty() => {
                (*pos, Expr::Variable(*pos, name.clone(), Vec::new()), fields.clone(), name.to_string())
            }
            Expr::Chain(pos, base, fields) if !matches!(**base, Expr::Identifier(..)) => {
                self.expression(base, false);
                (*pos, (**base).clone(), fields.clone(), String::new())
            }
            _ => return,
        };
        let path: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let text: String = path.iter().map(|name| format!(".{name}")).collect();
        let place = format!(
            "template: get:{}: executing {:?} at <{before}{text}>",
            self.place(pos, &before, &path),
            self.name
        );
        let number = Number::Int(i64::try_from(self.accesses.len()).unwrap_or(i64::MAX));
        self.accesses.push(Access { path, place });
        let function = if printed { SHOW } else { GET };
        let call = vec![Expr::Identifier(pos, SmolStr::new(function)), base, Expr::Number(pos, number)];
        let commands = vec![CommandNode { pos, args: call }];
        *expression = Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false });
    }

    /// Line and column of a field, which is where its second part begins if it has one: so does Go count.
    fn place(&self, pos: Pos, before: &str, path: &[String]) -> String {
        let first = match path {
            [first, _, ..] if before.is_empty() => 1 + first.len(),
            [_, ..] => before.len(),
            [] => 0,
        };
        let offset = (pos.offset + first).min(self.text.len());
        let text = self.text.get(..offset).unwrap_or_default();
        let column = text.rfind('\n').map_or(offset, |newline| offset - newline - 1);
        format!("{}:{column}", 1 + text.matches('\n').count())
    }
}
