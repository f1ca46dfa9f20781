//! Why bytes came from the seed.

/// The reasons, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The first seconds of a viewing, before peers are connected, and the small first chunk.
    Start,
    /// The viewer jumped, and cannot wait.
    Jump,
    /// Nobody who is there holds the chunk.
    Cold,
    /// Those who hold it cannot be reached through their routers.
    Unreachable,
    /// Those who hold it have their hands full, or have used up what they may send.
    Busy,
    /// Those who hold it together carry less than the broadcast has.
    Overload,
    /// A peer would have been late.
    Late,
    /// A peer sent what is false.
    Hash,
    /// The rule in use asks the seed first.
    Rule,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::Jump,
        Self::Cold,
        Self::Unreachable,
        Self::Busy,
        Self::Overload,
        Self::Late,
        Self::Hash,
        Self::Rule,
    ];

    /// A name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Jump => "jump",
            Self::Cold => "nobody has it",
            Self::Unreachable => "not reachable",
            Self::Busy => "busy",
            Self::Overload => "too thin together",
            Self::Late => "too late",
            Self::Hash => "false bytes",
            Self::Rule => "by rule",
        }
    }

    /// What it means.
    pub fn help(self) -> &'static str {
        match self {
            Self::Start => "The small first piece that lets the picture begin at once.",
            Self::Jump => "The viewer jumped to a place where the picture is wanted at once.",
            Self::Cold => "No switched-on home still has this piece of the recording.",
            Self::Unreachable => "Homes have it, but routers keep the two homes apart.",
            Self::Busy => "Homes have it, but are already sending to others or have reached their monthly limit.",
            Self::Overload => "All homes connected to this viewer together send less than the recording's bit rate.",
            Self::Late => "A home was on it, but would not have been done in time.",
            Self::Hash => "A home sent wrong bytes, which were noticed and thrown away.",
            Self::Rule => "The rule that is compared here asks the broadcaster's servers first.",
        }
    }
}
