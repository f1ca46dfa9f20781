//! Presets are legal, say why, and are shipped as files.

use std::path::Path;

use crate::plan::{Assumption, FIELDS, PRESETS, Plan};

/// Presets shipped as files; `small` is for trying out and needs none.
const SHIPPED: [&str; 4] = ["regional", "national", "flash", "hostile"];

#[test]
fn every_preset_holds_together_and_differs_from_the_defaults_where_it_says_so() {
    for preset in PRESETS {
        let plan = preset.plan();
        assert_eq!(plan.check(), Ok(()), "{}", preset.name);
        assert_eq!(Plan::preset(preset.name), Some(plan.clone()));
        assert!(preset.question.ends_with('?'));
        for change in preset.changes {
            assert!(!change.why.is_empty(), "{}: {}", preset.name, change.path);
        }
        let default = Plan::default();
        for field in FIELDS.iter().filter(|field| plan.value(field.path) != default.value(field.path)) {
            assert!(preset.changes.iter().any(|change| change.path == field.path), "{}", field.path);
        }
    }
    assert_eq!(Plan::preset("galactic"), None);
}

/// As a planner does who wants to know what hangs on assumptions.
#[test]
fn the_assumptions_of_a_shipped_scenario_can_be_changed_in_the_file() {
    for preset in PRESETS {
        for (name, assumption) in [("low", Assumption::Low), ("high", Assumption::High)] {
            let text = preset.to_toml();
            let changed = text.replace("\nassumptions = \"mid\"\n", &format!("\nassumptions = \"{name}\"\n"));
            assert_ne!(text, changed);
            assert_eq!(Plan::parse(&changed, "s.toml"), Ok(preset.under(assumption)), "{} {name}", preset.name);
        }
    }
}

/// `UPDATE_SCENARIOS=1` writes them anew.
#[test]
fn the_shipped_scenarios_are_those_of_the_presets() {
    for name in SHIPPED {
        let preset = PRESETS.iter().find(|preset| preset.name == name).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"));
        let text = preset.to_toml();
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let shipped = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(shipped == text, "sim/scenarios/{name}.toml is out of date; run this test with UPDATE_SCENARIOS=1");
        assert_eq!(Plan::parse(&shipped, name), Ok(preset.plan()));
    }
}
