//! Laws of plans: what is written reads back, and parts of a whole stay one.

use proptest::prelude::*;

use crate::plan::{FIELDS, Fault, Field, Kind, Plan, PlanFaults, Value, check};

/// Any value that a field takes, as it is written.
fn value(field: &'static Field) -> BoxedStrategy<String> {
    match field.kind {
        Kind::Count { least, most } => (least..=most).prop_map(|count| count.to_string()).boxed(),
        Kind::Number { least, most } => {
            prop_oneof![Just(least), Just(most), least..=most, Just(f64::MIN_POSITIVE.clamp(least, most))]
                .prop_map(|number| number.to_string())
                .boxed()
        }
        Kind::Choice(names) => proptest::sample::select(names).prop_map(str::to_owned).boxed(),
        Kind::Text { longest } => proptest::collection::vec(any::<char>(), 0..=longest)
            .prop_map(|text| text.into_iter().filter(|c| !c.is_control()).collect::<String>().trim().to_owned())
            .boxed(),
    }
}

/// A few fields of the defaults changed.
fn plan() -> impl Strategy<Value = Plan> {
    let change = proptest::sample::select(FIELDS.as_slice()).prop_flat_map(|field| (Just(field), value(field)));
    proptest::collection::vec(change, 0..6).prop_map(|changes| {
        let mut plan = Plan::default();
        for (field, text) in changes {
            // Quoted, so that text which has quotes itself keeps them.
            let text = if matches!(field.kind, Kind::Text { .. }) { format!("\"{text}\"") } else { text };
            plan.vary(field.path, &text).unwrap();
        }
        plan
    })
}

proptest! {
    #[test]
    fn a_plan_is_read_back_as_it_was_written(plan in plan()) {
        let text = plan.to_toml();
        match (plan.check(), Plan::parse(&text, "s.toml")) {
            (Ok(()), read) => prop_assert_eq!(read, Ok(plan)),
            (Err(PlanFaults(of_plan)), Err(PlanFaults(of_file))) => {
                // A clash is at a line, for the defaults do not clash, and is told with the same advice.
                prop_assert!(of_file.iter().all(|fault| fault.line.is_some()));
                let advice = |faults: &[Fault]| {
                    let mut advice: Vec<String> = faults.iter().map(|fault| fault.write.clone()).collect();
                    advice.sort();
                    advice
                };
                prop_assert_eq!(advice(&of_plan), advice(&of_file));
            }
            (Err(faults), Ok(_)) => prop_assert!(false, "read in spite of {}", faults),
        }
    }

    #[test]
    fn what_is_set_is_what_one_gets(change in proptest::sample::select(FIELDS.as_slice()).prop_flat_map(|f| (Just(f), value(f)))) {
        let (field, text) = change;
        let mut plan = Plan::default();
        let quoted = if matches!(field.kind, Kind::Text { .. }) { format!("\"{text}\"") } else { text.clone() };
        plan.set(field.path, &quoted).unwrap();
        match plan.value(field.path).unwrap() {
            Value::Text(now) => prop_assert_eq!(now, text),
            now => prop_assert_eq!(now.number(), text.parse().ok()),
        }
        let others = plan.values().into_iter().zip(Plan::default().values()).filter(|(now, before)| now != before).count();
        prop_assert!(others <= 1);
    }

    #[test]
    fn a_varied_share_leaves_a_whole(
        path in proptest::sample::select(check::WHOLES.concat()),
        shares in proptest::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64], 1..5),
    ) {
        let mut plan = Plan::default();
        for share in shares {
            plan.vary(path, &share.to_string()).unwrap();
            prop_assert_eq!(plan.get(path), Some(share));
            prop_assert_eq!(plan.check(), Ok(()));
        }
    }
}

#[test]
fn the_other_shares_keep_their_proportion() {
    let mut plan = Plan::default();
    let before = plan.access.clone();
    plan.vary("access.fibre.share", "0.8").unwrap();
    assert_eq!(plan.access.fibre.share, 0.8);
    assert!((plan.access.cable.share / plan.access.dsl.share - before.cable.share / before.dsl.share).abs() < 1e-9);
}

#[test]
fn a_field_left_out_has_the_default_of_the_chosen_assumption() {
    let text = "assumptions = \"high\"\n[audience]\nhomes = 777\n";
    let plan = Plan::parse(text, "s.toml").unwrap();
    let mut expected = Plan::assumed(crate::plan::Assumption::High);
    expected.audience.homes = 777;
    assert_eq!(plan, expected);
}
