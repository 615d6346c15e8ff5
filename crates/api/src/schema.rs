//! The shape of each API type as data, next to the type itself.
//!
//! [`go_struct!`](crate::go_struct) declares a type once and derives from it both the serde
//! code for stored JSON and a [`Shape`]: which fields there are, under which JSON name and of
//! which kind. User input is decoded against the shape (`decode`), so that unknown fields,
//! YAML 1.1 scalars and wrong types are found with the names that Calico's users know. Nothing
//! here reads or writes; the next hop is `decode` for input and serde for stored data.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a JSON value has to be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text.
    String,
    /// `true` or `false`.
    Bool,
    /// A whole number of so many bits.
    Int {
        /// Width as Go's type has it: 8, 16, 32 or 64.
        bits: u8,
        /// Whether negative numbers are taken.
        signed: bool,
    },
    /// A number with or without a fraction.
    Float,
    /// A value that the type itself reads (a protocol, a port, an AS number, a duration).
    Custom {
        /// Go's name of the type, for messages.
        go_name: &'static str,
        /// What is taken, in words.
        expected: &'static str,
        /// Reads a number or a text and gives it back in the type's own form.
        read: ReadCustom,
    },
    /// Any JSON value at all.
    Any,
    /// A list.
    List(&'static Shape),
    /// A map with text keys.
    Map(&'static Shape),
    /// An object with known fields.
    Struct(&'static Struct),
}

/// Reads a JSON value as a type does and gives it back in that type's form; or says why not.
pub type ReadCustom = fn(&serde_json::Value) -> Result<serde_json::Value, String>;

/// A [`ReadCustom`] for a type with serde code.
///
/// # Errors
/// What the type's own decoder says.
pub fn reread<T>(value: &serde_json::Value) -> Result<serde_json::Value, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let typed: T = T::deserialize(value).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// An object with known fields.
#[derive(Debug)]
pub struct Struct {
    /// Go's name of the type, as it stands in decoder messages.
    pub go_name: &'static str,
    /// The fields in the order in which Go declares and prints them.
    pub fields: &'static [Field],
}

/// One field of a [`Struct`].
#[derive(Debug)]
pub struct Field {
    /// The JSON name.
    pub name: &'static str,
    /// What it holds.
    pub shape: &'static Shape,
    /// Whether Go prints it even when it is zero (no `omitempty`); see [`complete`].
    pub always: bool,
    /// Whether it is a pointer in Go, which can be unset.
    pub pointer: bool,
}

impl Struct {
    /// The field of that name; letters' case counts only if two fields differ in nothing else,
    /// as in Go's decoder.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .or_else(|| self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)))
    }
}

/// A type whose JSON form is known as data.
pub trait Shaped {
    /// The shape.
    const SHAPE: &'static Shape;
    /// Whether it is a pointer in Go.
    const POINTER: bool = false;
}

/// Whether Go's `omitempty` leaves a value out.
pub trait Omit {
    /// True for the zero value.
    fn omit(&self) -> bool;
}

macro_rules! scalar {
    ($($type:ty => $shape:expr, $zero:expr;)*) => {$(
        impl Shaped for $type {
            const SHAPE: &'static Shape = &$shape;
        }
        impl Omit for $type {
            fn omit(&self) -> bool {
                *self == $zero
            }
        }
    )*};
}

scalar! {
    bool => Shape::Bool, false;
    u8 => Shape::Int { bits: 8, signed: false }, 0;
    u16 => Shape::Int { bits: 16, signed: false }, 0;
    u32 => Shape::Int { bits: 32, signed: false }, 0;
    u64 => Shape::Int { bits: 64, signed: false }, 0;
    i32 => Shape::Int { bits: 32, signed: true }, 0;
    i64 => Shape::Int { bits: 64, signed: true }, 0;
    f64 => Shape::Float, 0.0;
}

impl Shaped for String {
    const SHAPE: &'static Shape = &Shape::String;
}
impl Omit for String {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}
impl Shaped for Arc<str> {
    const SHAPE: &'static Shape = &Shape::String;
}
impl Omit for Arc<str> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}
impl Shaped for serde_json::Value {
    const SHAPE: &'static Shape = &Shape::Any;
}
impl Omit for serde_json::Value {
    fn omit(&self) -> bool {
        self.is_null()
    }
}
impl<T: Shaped> Shaped for Option<T> {
    const SHAPE: &'static Shape = T::SHAPE;
    const POINTER: bool = true;
}
impl<T> Omit for Option<T> {
    fn omit(&self) -> bool {
        self.is_none()
    }
}
impl<T: Shaped> Shaped for Vec<T> {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);
}
impl<T> Omit for Vec<T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}
impl<T: Shaped> Shaped for BTreeMap<String, T> {
    const SHAPE: &'static Shape = &Shape::Map(T::SHAPE);
}
impl<T> Omit for BTreeMap<String, T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}
impl<T: Shaped> Shaped for Box<T> {
    const SHAPE: &'static Shape = T::SHAPE;
}
impl<T: Omit> Omit for Box<T> {
    fn omit(&self) -> bool {
        (**self).omit()
    }
}

/// Reads `null` as the type's default, as Go's decoder does.
///
/// # Errors
/// Whatever the type's own decoder says of a value that isn't `null`.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares API types: the struct, its serde code with Go's `omitempty`, and its [`Shape`].
/// A field followed by `always` has no `omitempty` in Go; [`complete`](crate::schema::complete) puts it back.
///
/// ```
/// tortie_api::go_struct! {
///     /// One address and its use.
///     NodeAddress {
///         /// The address, with or without a prefix length.
///         address: String = "address",
///         /// Where it comes from.
///         kind: String = "type",
///     }
/// }
/// let address: NodeAddress = serde_json::from_str(r#"{"address":"10.0.0.1"}"#).unwrap();
/// assert_eq!(serde_json::to_string(&address).unwrap(), r#"{"address":"10.0.0.1"}"#);
/// ```
#[macro_export]
macro_rules! go_struct {
    ($(
        $(#[$doc:meta])*
        $name:ident $(as $go:literal)? {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty = $json:literal $($always:ident)? ),* $(,)?
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(
                    rename = $json,
                    skip_serializing_if = "tortie_api::schema::omit",
                    deserialize_with = "tortie_api::schema::null_is_default"
                )]
                pub $field: $type,
            )*
        }
        const _: () = {
            impl $crate::schema::Shaped for $name {
                const SHAPE: &'static $crate::schema::Shape =
                    &$crate::schema::Shape::Struct(&$crate::schema::Struct {
                        go_name: $crate::go_struct!(@name $name $($go)?),
                        fields: &[$($crate::schema::Field {
                            name: $json,
                            shape: <$type as $crate::schema::Shaped>::SHAPE,
                            always: $crate::go_struct!(@always $($always)?),
                            pointer: <$type as $crate::schema::Shaped>::POINTER,
                        }),*],
                    });
            }
            impl $crate::schema::Omit for $name {
                fn omit(&self) -> bool {
                    true $( && $crate::schema::Omit::omit(&self.$field) )*
                }
            }
        };
    )*
    };
    (@name $name:ident $go:literal) => { $go };
    (@name $name:ident) => { stringify!($name) };
    (@always always) => { true };
    (@always) => { false };
}

/// Gives a serialised value the form in which Go prints it: stored objects have to read as Calico
/// writes them.
///
/// serde leaves zero values out everywhere (`omit`); fields that are declared `always` come back
/// here as Go's zero value of their shape. A whole number in a float field loses its `.0`.
pub fn complete(value: &mut serde_json::Value, shape: &Shape) {
    use serde_json::Value;
    match (shape, value) {
        (Shape::Struct(fields), Value::Object(object)) => {
            for field in fields.fields {
                if matches!(field.shape, Shape::Struct(Struct { fields: [], .. })) {
                    // A kind without a spec or a status: Go has no such field.
                    object.remove(field.name);
                } else if let Some(inner) = object.get_mut(field.name) {
                    complete(inner, field.shape);
                } else if field.always {
                    let mut inner = zero(field.shape);
                    complete(&mut inner, field.shape);
                    object.insert(field.name.to_owned(), inner);
                }
            }
        }
        (Shape::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| complete(item, inner));
        }
        (Shape::Map(inner), Value::Object(object)) => {
            object.values_mut().for_each(|item| complete(item, inner));
        }
        (Shape::Float, number) => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e18);
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^63 in size")]
            if let Some(float) = whole {
                *number = (float as i64).into();
            }
        }
        _ => {}
    }
}

/// What Go prints for the zero value of a shape.
fn zero(shape: &Shape) -> serde_json::Value {
    match shape {
        Shape::String => "".into(),
        Shape::Bool => false.into(),
        Shape::Int { .. } | Shape::Float | Shape::Custom { .. } => 0.into(),
        Shape::Struct(_) => serde_json::Value::Object(serde_json::Map::new()),
        Shape::Any | Shape::List(_) | Shape::Map(_) => serde_json::Value::Null,
    }
}

/// [`Omit::omit`] as a function, for serde's attributes.
pub fn omit<T: Omit>(value: &T) -> bool {
    value.omit()
}
