//! A result carries its whole scenario.

use super::pages::{read, words};
use crate::outcome::{Outcome, Setting, page};
use crate::plan::{Assumption, FIELDS, Plan};

#[test]
fn every_field_of_the_scenario_is_on_the_page_with_its_unit_and_meaning() {
    let mut plan = Plan::assumed(Assumption::Mid);
    plan.set("audience.homes", "123456").expect("is a field");
    plan.set("outages.churn", "0.0625").expect("is a field");
    let outcome = Outcome { plan: Setting::all(&plan), ..Outcome::default() };
    assert_eq!(outcome.plan.len(), FIELDS.len());
    let words = words(&read(&page(&outcome))).replace('\u{a0}', " ");
    assert!(words.contains("123,456 homes") && words.contains("6.25 %"), "{words}");
    assert!(FIELDS.iter().all(|field| words.contains(field.help)));
    let homes = Setting::one(&plan, "audience.homes").expect("is a field");
    assert!(outcome.plan.contains(&homes));
    assert_eq!(Setting::one(&plan, "audience.houses"), None);
}
