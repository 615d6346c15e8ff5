//! From tokens to a tree. `!` binds before `&&`, and `&&` before `||`.
//!
//! A run of `!` counts by parity; parentheses leave no trace in the tree, so `a && b && c`
//! is one conjunction of three and `(a && b) && c` is one of two.

use super::SelectorError;
use super::node::{LabelTest, Node, Test};
use super::token::{Kind, Token, tokens};

/// How deep parentheses may stand inside one another: as deep as 1,024 characters, which is
/// what the API takes, have room for.
pub const MAX_PARENTHESES: usize = 512;

/// How deep operators may stand inside one another; parentheses alone don't count, and 1,024
/// characters have room for 340. Whoever walks the tree may do so by recursion.
pub const MAX_DEPTH: usize = 400;

pub(super) fn parse(text: &str) -> Result<Node, SelectorError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { rest: &tokens };
    if parser.peek().kind == Kind::End {
        return Ok(Node::All);
    }
    let root = parser.expression(0)?;
    if parser.peek().kind == Kind::End {
        return match root.depth() {
            depth if depth > MAX_DEPTH => Err(too_deep(depth, MAX_DEPTH)),
            _ => Ok(root),
        };
    }
    let found: Vec<String> = parser.rest.iter().map(ToString::to_string).collect();
    Err(SelectorError::TrailingContent { found: found.join(" ").into() })
}

fn too_deep(found: usize, expected: usize) -> SelectorError {
    SelectorError::TooDeep { found, expected }
}

struct Parser<'t, 'a> {
    /// What is not read yet; [`Kind::End`] is never read, so there is always one.
    rest: &'t [Token<'a>],
}

impl<'t, 'a> Parser<'t, 'a> {
    /// Conjunctions between `||`.
    fn expression(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let first = self.conjunction(depth)?;
        if self.peek().kind != Kind::Or {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.peek().kind == Kind::Or {
            self.advance();
            operands.push(self.conjunction(depth)?);
        }
        Ok(Node::Or(operands))
    }

    /// Terms between `&&`.
    fn conjunction(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let first = self.term(depth)?;
        if self.peek().kind != Kind::And {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.peek().kind == Kind::And {
            self.advance();
            operands.push(self.term(depth)?);
        }
        Ok(Node::And(operands))
    }

    /// A test or an expression in parentheses, with the `!` before it.
    fn term(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let mut negated = false;
        while self.peek().kind == Kind::Not {
            negated = !negated;
            self.advance();
        }
        let token = self.peek();
        let node = match token.kind {
            Kind::Label => self.comparison()?,
            Kind::LeftParenthesis => {
                if depth == MAX_PARENTHESES {
                    return Err(too_deep(depth + 1, MAX_PARENTHESES));
                }
                self.advance();
                let node = self.expression(depth + 1)?;
                if self.peek().kind != Kind::RightParenthesis {
                    return Err(SelectorError::ExpectedParenthesis);
                }
                self.advance();
                node
            }
            Kind::Has => {
                self.advance();
                Node::Label(LabelTest { label: token.text.into(), test: Test::Present })
            }
            Kind::All => {
                self.advance();
                Node::All
            }
            Kind::Global => {
                self.advance();
                Node::Global
            }
            _ => {
                return Err(SelectorError::UnexpectedToken { found: token.to_string().into() });
            }
        };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    /// A label, an operator and a value or a set.
    fn comparison(&mut self) -> Result<Node, SelectorError> {
        if self.rest.len() < 3 {
            return Err(SelectorError::UnexpectedEnd);
        }
        let label = self.advance().text;
        let operator = self.peek();
        let with_value: Option<fn(Box<str>) -> Test> = match operator.kind {
            Kind::Equal => Some(Test::Equal),
            Kind::NotEqual => Some(Test::NotEqual),
            Kind::Contains => Some(Test::Contains),
            Kind::StartsWith => Some(Test::StartsWith),
            Kind::EndsWith => Some(Test::EndsWith),
            Kind::In | Kind::NotIn => None,
            _ => {
                return Err(SelectorError::ExpectedComparison { found: operator.to_string().into() });
            }
        };
        self.advance();
        let test = match with_value {
            Some(test) if self.peek().kind == Kind::String => test(self.advance().text.into()),
            Some(_) => return Err(SelectorError::ExpectedString),
            None if self.peek().kind != Kind::LeftBrace => return Err(SelectorError::ExpectedSet),
            None => {
                self.advance();
                let values = self.values()?.into_iter().collect();
                match operator.kind {
                    Kind::NotIn => Test::NotIn(values),
                    _ => Test::In(values),
                }
            }
        };
        Ok(Node::Label(LabelTest { label: label.into(), test }))
    }

    /// The rest of a set; a comma may stand before its end.
    fn values(&mut self) -> Result<Vec<&'a str>, SelectorError> {
        let mut values = Vec::new();
        while self.peek().kind == Kind::String {
            values.push(self.advance().text);
            if self.peek().kind != Kind::Comma {
                break;
            }
            self.advance();
        }
        if self.peek().kind != Kind::RightBrace {
            return Err(SelectorError::ExpectedBrace);
        }
        self.advance();
        Ok(values)
    }

    fn peek(&self) -> Token<'a> {
        *self.rest.first().expect("the end of the text is never read")
    }

    fn advance(&mut self) -> Token<'a> {
        let (first, rest) = self.rest.split_first().expect("the end of the text is never read");
        self.rest = rest;
        *first
    }
}
