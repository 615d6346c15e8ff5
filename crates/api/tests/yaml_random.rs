//! Random values written and read again, and random text read: nothing lost, nothing panics.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use fastrand::Rng;
use serde_json::{Map, Number, Value};
use tortie_api::decode::decode;
use tortie_api::validate::check;
use tortie_api::yaml;
use tortie_api::yaml::scalar::Scalar;
use tortie_api::yaml::tree::{self, Data, Node};

/// Pieces of text that mean something in YAML, or look as if they did.
const PIECES: [&str; 46] = [
    "",
    "a",
    "Z",
    "0",
    "1",
    "012",
    "1e3",
    ".",
    "-",
    "--- ",
    "...",
    ":",
    ": ",
    " #",
    "#",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&",
    "*",
    "!",
    "|",
    ">",
    "'",
    "\"",
    "%",
    "@",
    "`",
    "?",
    "? ",
    "- ",
    "\n",
    "\n\n",
    "\r",
    "\t",
    " ",
    "  ",
    "~",
    "null",
    "true",
    "no",
    "<<",
    "\u{e9}",
    "\u{1F600}",
];

fn mk_text(rng: &mut Rng) -> String {
    (0..rng.usize(0..7)).map(|_| *rng.choice(&PIECES).unwrap()).collect()
}

fn mk_value(rng: &mut Rng, depth: usize) -> Value {
    match rng.usize(0..if depth == 0 { 5 } else { 9 }) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => rng.i64(-1000..1000).into(),
        3 => Number::from_f64(rng.f64() * 1000.0).map_or(Value::Null, Value::Number),
        4 => mk_text(rng).into(),
        5 | 6 => (0..rng.usize(0..4)).map(|_| mk_value(rng, depth - 1)).collect(),
        _ => Value::Object(
            (0..rng.usize(0..4)).map(|_| (mk_text(rng), mk_value(rng, depth - 1))).collect::<Map<_, _>>(),
        ),
    }
}

/// What a reader that knows YAML 1.1 makes of a node.
fn read(node: &Node) -> Value {
    match &node.data {
        Data::Text(text) => text.clone().into(),
        Data::Plain(text, scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => (*value).into(),
            Scalar::Int(value) => i64::try_from(*value).unwrap().into(),
            Scalar::Float(value) => Value::Number(Number::from_f64(*value).unwrap()),
            Scalar::Text | Scalar::Timestamp | Scalar::Merge => text.clone().into(),
        },
        Data::List(items) => items.iter().map(read).collect(),
        Data::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), read(&entry.value))).collect())
        }
    }
}

#[test]
fn what_is_written_is_read_back_whatever_the_texts_look_like() {
    let mut rng = Rng::with_seed(7);
    for round in 0..40_000 {
        // Wrapped, because a document that holds nothing is no document.
        let value: Value =
            [("value".to_owned(), mk_value(&mut rng, 3))].into_iter().collect::<Map<_, _>>().into();
        let text = yaml::to_string(&value);
        let (documents, errors) = tree::read(&text);
        let back = documents.first().map(read);
        if errors.is_empty() && back.as_ref() == Some(&value) {
            continue;
        }
        panic!("round {round}:\n{text}\nof  {value}\nwas {back:?}\n{errors:?}");
    }
}

#[test]
fn no_text_makes_the_way_from_yaml_to_faults_panic() {
    const WORDS: [&str; 22] = [
        "apiVersion: projectcalico.org/v3\n",
        "kind: NetworkPolicy\n",
        "kind: IPPool\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  ingress:\n",
        "  - action: Allow\n",
        "    protocol: 6\n",
        "  cidr: 10.0.0.0/8\n",
        "&x ",
        "*x",
        "<<: ",
        "[",
        "]",
        "{",
        "}",
        "- ",
        "  ",
        "\n---\n",
        "items: ",
        "kind: List\n",
        "!!str ",
    ];
    let mut rng = Rng::with_seed(11);
    let mut faulty = 0;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..rng.usize(1..14) {
            text.push_str(rng.choice(&WORDS).unwrap());
            if rng.u8(0..6) == 0 {
                text.push_str(&mk_text(&mut rng));
            }
        }
        let decoded = check(decode(&text), "default");
        let faults = decoded.faults.len()
            + decoded.documents.iter().map(|document| document.faults.len()).sum::<usize>();
        faulty += usize::from(faults > 0);
    }
    assert!((10_000..20_000).contains(&faulty), "{faulty}");
}
