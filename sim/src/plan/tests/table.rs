//! The table of fields is complete and legal.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::exchange::PolicyKind;
use crate::plan::{Assumption, FIELDS, Kind, Plan, SECTIONS, fields, reference};

const ASSUMPTIONS: [Assumption; 3] = [Assumption::Low, Assumption::Mid, Assumption::High];

#[test]
fn every_row_says_all_of_its_field() {
    for field in FIELDS.iter() {
        let path = field.path;
        assert!(!field.unit.is_empty(), "{path} has no unit");
        for text in [field.help, field.source] {
            assert!(text.len() > 10 && !text.ends_with('.') && !text.contains('\n'), "{path}: {text:?}");
        }
        let honest = ["our choice: ", "assumption: "].iter().any(|begin| field.source.starts_with(begin));
        let years = field
            .source
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| digits.len() == 4 && (digits.starts_with("19") || digits.starts_with("20")));
        assert!(honest || years.count() > 0, "{path} has a source without a year: {}", field.source);
    }
}

#[test]
fn every_row_is_in_a_section_of_the_file_and_no_path_is_taken_twice() {
    assert_eq!(FIELDS.len(), fields::TABLE.iter().map(|rows| rows.len()).sum::<usize>());
    assert_eq!(FIELDS.len(), FIELDS.iter().map(|field| field.path).collect::<BTreeSet<_>>().len());
    for section in SECTIONS {
        assert!(FIELDS.iter().any(|field| field.section() == section.path), "[{}] is empty", section.path);
    }
}

#[test]
fn every_default_is_in_range() {
    for field in FIELDS.iter() {
        for assumption in ASSUMPTIONS {
            let default = field.default(assumption);
            assert_eq!(field.kind.accept(default.clone()).as_ref(), Some(default), "{}", field.path);
        }
        match field.kind {
            Kind::Count { least, most } => assert!(least < most),
            Kind::Number { least, most } => assert!(least < most && most.is_finite()),
            Kind::Choice(names) => assert!(names.len() > 1),
            Kind::Text { longest } => assert!(longest > 0),
        }
    }
}

#[test]
fn each_assumption_makes_a_plan_that_holds_together() {
    for assumption in ASSUMPTIONS {
        let plan = Plan::assumed(assumption);
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(plan.assumptions, assumption);
        for field in FIELDS.iter() {
            assert_eq!(plan.value(field.path).as_ref(), Some(field.default(assumption)), "{}", field.path);
        }
    }
    assert_eq!(Plan::default(), Plan::assumed(Assumption::Mid));
}

/// What a plan serialises is what the table lists: no field of the structs is without a row.
#[test]
fn the_structs_hold_the_table_and_nothing_else() {
    fn flatten(path: &str, json: &Json, out: &mut BTreeMap<String, Json>) {
        match json {
            Json::Object(members) => {
                for (name, member) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    flatten(&path, member, out);
                }
            }
            leaf => {
                out.insert(path.to_owned(), leaf.clone());
            }
        }
    }
    let plan = Plan::assumed(Assumption::Low);
    let mut leaves = BTreeMap::new();
    flatten("", &serde_json::to_value(&plan).unwrap(), &mut leaves);
    let paths: BTreeSet<&str> = FIELDS.iter().map(|field| field.path).collect();
    assert_eq!(leaves.keys().map(String::as_str).collect::<BTreeSet<_>>(), paths);
    for (path, leaf) in &leaves {
        match leaf {
            Json::Number(number) => assert_eq!(number.as_f64(), plan.get(path), "{path}"),
            Json::String(text) => assert_eq!(Some(text.clone()), plan.value(path).map(|v| v.to_string()), "{path}"),
            other => panic!("{path} is {other}"),
        }
    }
}

#[test]
fn policies_have_the_names_that_the_exchange_gives_them() {
    let field = fields::find("exchange.policy").unwrap();
    let Kind::Choice(names) = field.kind else { panic!("{:?}", field.kind) };
    assert_eq!(names, PolicyKind::ALL.map(PolicyKind::name));
}

/// The pairs' rates were split so that their mean is what Trautwein et al. measured.
#[test]
fn pairs_behind_routers_succeed_as_often_as_measured() {
    for (assumption, measured) in [(Assumption::Low, 0.629), (Assumption::Mid, 0.70), (Assumption::High, 0.771)] {
        let reach = Plan::assumed(assumption).reach;
        let cone = reach.cone / (reach.cone + reach.symmetric);
        let mean = cone * cone * reach.cone_cone
            + 2.0 * cone * (1.0 - cone) * reach.cone_symmetric
            + (1.0 - cone) * (1.0 - cone) * reach.symmetric_symmetric;
        assert!((mean - measured).abs() < 0.005, "{assumption:?}: {mean}");
    }
}

#[test]
fn the_reference_names_every_field() {
    let reference = reference();
    for field in FIELDS.iter() {
        assert!(reference.contains(&format!("\n  {}\n", field.path)), "{}", field.path);
    }
    assert!(reference.lines().all(|line| line.chars().count() <= 110));
}
