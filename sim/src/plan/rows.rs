//! What a row of the table becomes: a field of a struct, documented by the row's help, and a [`Field`](super::Field)
//! that knows how to read and write it.

/// The type that holds a field.
macro_rules! slot {
    ((u64 $($range:tt)*)) => {
        u64
    };
    ((f64 $($range:tt)*)) => {
        f64
    };
    ((choice $type:ty)) => {
        $type
    };
    ((text $longest:literal)) => {
        String
    };
}

macro_rules! blank {
    ((u64 $($range:tt)*)) => {
        0
    };
    ((f64 $($range:tt)*)) => {
        0.0
    };
    ((choice $type:ty)) => {
        <$type as Choice>::ALL[0]
    };
    ((text $longest:literal)) => {
        String::new()
    };
}

macro_rules! kind {
    ((u64 $least:literal ..= $most:literal)) => {
        Kind::Count { least: $least, most: $most }
    };
    ((f64 $least:literal ..= $most:literal)) => {
        Kind::Number { least: $least, most: $most }
    };
    ((choice $type:ty)) => {
        Kind::Choice(<$type as Choice>::NAMES)
    };
    ((text $longest:literal)) => {
        Kind::Text { longest: $longest }
    };
}

macro_rules! defaults {
    ((u64 $($range:tt)*) $($given:expr),+) => { three!($(Value::Count($given)),+) };
    ((f64 $($range:tt)*) $($given:expr),+) => { three!($(Value::Number($given)),+) };
    ($kind:tt $($given:expr),+) => { three!($(Value::Text(Cow::Borrowed($given))),+) };
}

macro_rules! three {
    ($all:expr) => {
        [$all, $all, $all]
    };
    ($low:expr, $mid:expr, $high:expr) => {
        [$low, $mid, $high]
    };
}

macro_rules! row {
    ($path:expr, $kind:tt, $unit:literal, [$($given:expr),+], $help:literal, $source:literal, $($slot:ident).+) => {
        Field {
            path: $path,
            kind: kind!($kind),
            unit: $unit,
            defaults: defaults!($kind $($given),+),
            help: $help,
            source: $source,
            take: |plan| Slot::take(&plan.$($slot).+),
            put: |plan, value| Slot::put(&mut plan.$($slot).+, value),
        }
    };
}

/// A section: its struct, and its rows of the table.
macro_rules! section {
    ($(#[$about:meta])* $section:ident: $name:ident {
        $($field:ident: $kind:tt, $unit:literal, [$($given:expr),+], $help:literal, $source:literal;)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $name {
            $(#[doc = concat!($help, ". Unit: ", $unit, ".")] pub $field: slot!($kind),)+
        }

        impl $name {
            const ROWS: &'static [Field] = &[$(row!(
                concat!(stringify!($section), ".", stringify!($field)),
                $kind, $unit, [$($given),+], $help, $source, $section.$field
            )),+];

            fn blank() -> Self {
                Self { $($field: blank!($kind)),+ }
            }
        }
    };
}

/// Sections with the same fields: their struct, the struct of all of them, and their rows of the table.
macro_rules! classes {
    ($(#[$about:meta])* $section:ident: $all:ident {
        $($(#[$about_class:meta])* $member:ident $class:literal,)+
    }
    $(#[$about_one:meta])* $one:ident {
        $($field:ident: $kind:tt, $unit:literal, $help:literal {
            $($slot:ident $path:literal: [$($given:expr),+], $source:literal;)+
        })+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $all {
            $($(#[$about_class])* #[serde(rename = $class)] pub $member: $one,)+
        }

        $(#[$about_one])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct $one {
            $(#[doc = concat!($help, ". Unit: ", $unit, ".")] pub $field: slot!($kind),)+
        }

        impl $all {
            const ROWS: &'static [Field] = &[$($(row!(
                concat!(stringify!($section), ".", $path, ".", stringify!($field)),
                $kind, $unit, [$($given),+], $help, $source, $section.$slot.$field
            )),+),+];

            /// All of them, by name.
            pub fn all(&self) -> [(&'static str, &$one); [$($class),+].len()] {
                [$(($class, &self.$member)),+]
            }

            fn blank() -> Self {
                Self { $($member: $one::blank()),+ }
            }
        }

        impl $one {
            fn blank() -> Self {
                Self { $($field: blank!($kind)),+ }
            }
        }
    };
}
