//! The six homes of the demo.

use crate::impair::{Recipe, RecipeError};
use crate::media::Carrier;

/// A home: its line, and what its receiver makes of the broadcast.
#[derive(Debug, Clone)]
pub struct Home {
    /// Its name, also of its subscriber.
    pub name: &'static str,
    /// Its uplink, in units that the demo scales to the programme.
    pub uplink_units: u64,
    /// Whether its line is paid by volume.
    pub metered: bool,
    /// What happens to its reception; none: its tuner delivers nothing.
    pub reception: Option<Reception>,
    /// The same in words.
    pub words: &'static str,
}

/// What a receiver makes of the broadcast.
#[derive(Debug, Clone)]
pub struct Reception {
    /// How it reaches the node.
    pub carrier: Carrier,
    /// What happens on the way.
    pub recipes: Vec<Recipe>,
}

/// Homes that upload share 2 : 4 : 8, and 2 for the one with losses.
pub fn homes(late_seconds: u32) -> Result<Vec<Home>, RecipeError> {
    let reception = |carrier, recipes: &[&str]| -> Result<Option<Reception>, RecipeError> {
        let recipes = recipes.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Some(Reception { carrier, recipes }))
    };
    let home = |name, uplink_units, reception, words| Home { name, uplink_units, metered: false, reception, words };
    Ok(vec![
        home(
            "home-1",
            2,
            reception(Carrier::Udp, &["nulls=10%", "counters"])?,
            "cable: more stuffing, other packet counters",
        ),
        home(
            "home-2",
            4,
            reception(Carrier::Rtp, &["nulls=drop", "pcr-jitter=2ms", "reorder=8"])?,
            "IPTV: no stuffing, shaky clock, other packet order",
        ),
        home("home-3", 8, reception(Carrier::Udp, &["pid-remap", "flags"])?, "another network: other packet ids"),
        Home {
            metered: true,
            ..home(
                "home-4",
                8,
                reception(Carrier::Rtp, &[&format!("late={late_seconds}s"), "counters"])?,
                "switched on late, pays its line by volume",
            )
        },
        home("home-5", 2, reception(Carrier::Udp, &["loss=0.3%/burst=20"])?, "weak aerial: 0.3 % lost in bursts"),
        home("home-6", 2, None, "its tuner delivers nothing: it only plays"),
    ])
}
