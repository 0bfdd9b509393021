use cqrs_es::test::TestFramework;
use serde_json::json;

use super::*;

fn details() -> DealDetails {
    DealDetails {
        title: "Miner Sales Contract".into(),
        customer_id: 1,
        amount: Decimal::from(50_000),
        expected_close: NaiveDate::from_ymd_opt(2025, 3, 15),
    }
}
fn created(stage: DealStage, by_hand: Option<u8>) -> DealEvent {
    DealEvent::Created {
        id: 5,
        details: details(),
        stage,
        probability: by_hand.unwrap_or(stage.default_probability()),
        probability_by_hand: by_hand.is_some(),
        from_lead: None,
    }
}
fn create(details: DealDetails, stage: DealStage, probability: Option<u8>) -> DealCommand {
    DealCommand::Create { id: 5, details, stage, probability, from_lead: None }
}
fn change(changes: DealChanges) -> DealCommand {
    DealCommand::Change { changes }
}
fn to_stage(stage: DealStage) -> DealCommand {
    change(DealChanges { stage: Some(stage), ..DealChanges::default() })
}
fn stage_changed(from: DealStage, to: DealStage, probability: u8) -> DealEvent {
    DealEvent::StageChanged { from, to, probability }
}
fn set(probability: u8, by_hand: bool) -> DealEvent {
    DealEvent::ProbabilityChanged { probability, by_hand }
}
fn given(events: Vec<DealEvent>) -> cqrs_es::test::AggregateTestExecutor<Deal> {
    TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
}

#[test]
fn a_deal_is_created_once_and_its_stage_gives_the_probability() {
    let create_at = |probability| create(details(), DealStage::Negotiation, probability);
    given(vec![]).when(create_at(None)).then_expect_events(vec![created(DealStage::Negotiation, None)]);
    given(vec![]).when(create_at(Some(55))).then_expect_events(vec![created(DealStage::Negotiation, Some(55))]);
    given(vec![created(DealStage::Negotiation, None)])
        .when(create_at(None))
        .then_expect_error(DealError::AlreadyExists);
}

#[test]
fn impossible_deals_are_not_created() {
    let refused = |details: DealDetails, error: FieldError| {
        let command = create(details, DealStage::Proposal, None);
        given(vec![]).when(command).then_expect_error(DealError::Field(error));
    };
    refused(DealDetails { title: String::new(), ..details() }, FieldError::Empty { field: "title" });
    let amount = Decimal::new(1, 3);
    refused(DealDetails { amount, ..details() }, FieldError::AmountOutOfRange { field: "amount" });
    let expected_close = NaiveDate::from_ymd_opt(1900, 1, 1);
    let error = FieldError::DateOutOfRange { field: "expected_close" };
    refused(DealDetails { expected_close, ..details() }, error);
    given(vec![])
        .when(create(details(), DealStage::Proposal, Some(101)))
        .then_expect_error(DealError::ProbabilityOutOfRange);
    for stage in [DealStage::Won, DealStage::Lost] {
        given(vec![]).when(create(details(), stage, None)).then_expect_error(DealError::CreatedClosed(stage));
    }
}

#[test]
fn a_stage_brings_its_default_probability() {
    for to in DealStage::ALL.into_iter().filter(|stage| *stage != DealStage::Proposal) {
        given(vec![created(DealStage::Proposal, None)]).when(to_stage(to)).then_expect_events(vec![stage_changed(
            DealStage::Proposal,
            to,
            to.default_probability(),
        )]);
    }
}

#[test]
fn a_stage_never_overwrites_a_probability_set_by_hand() {
    for to in DealStage::ALL.into_iter().filter(|stage| *stage != DealStage::Proposal) {
        let moved = stage_changed(DealStage::Proposal, to, 33);
        given(vec![created(DealStage::Proposal, Some(33))]).when(to_stage(to)).then_expect_events(vec![moved.clone()]);
        given(vec![created(DealStage::Proposal, None), set(33, true)])
            .when(to_stage(to))
            .then_expect_events(vec![moved]);
    }
}

#[test]
fn a_probability_is_set_and_returned_to_the_stage() {
    let probability = |change_to| change(DealChanges { probability: change_to, ..DealChanges::default() });
    let open = || vec![created(DealStage::Proposal, None)];
    given(open()).when(probability(Change::Set(80))).then_expect_events(vec![set(80, true)]);
    // The default, set by hand, is by hand from then on.
    given(open()).when(probability(Change::Set(50))).then_expect_events(vec![set(50, true)]);
    given(open()).when(probability(Change::Clear)).then_expect_events(vec![]);
    given(open()).when(probability(Change::Set(101))).then_expect_error(DealError::ProbabilityOutOfRange);
    let by_hand = || vec![created(DealStage::Proposal, None), set(80, true)];
    given(by_hand()).when(probability(Change::Set(80))).then_expect_events(vec![]);
    given(by_hand()).when(probability(Change::Clear)).then_expect_events(vec![set(50, false)]);
}

#[test]
fn one_update_may_change_everything() {
    let changes = DealChanges {
        title: Some("Hosting".into()),
        amount: Some(Decimal::from(60_000)),
        expected_close: Change::Clear,
        probability: Change::Set(90),
        stage: Some(DealStage::Negotiation),
    };
    let renamed = DealEvent::Changed {
        title: Some("Hosting".into()),
        amount: Some(Decimal::from(60_000)),
        expected_close: Change::Clear,
    };
    let history = vec![renamed, stage_changed(DealStage::Proposal, DealStage::Negotiation, 90), set(90, true)];
    given(vec![created(DealStage::Proposal, None)]).when(change(changes.clone())).then_expect_events(history.clone());
    let mut given_events = vec![created(DealStage::Proposal, None)];
    given_events.extend(history);
    given(given_events).when(change(changes)).then_expect_events(vec![]);
}

#[test]
fn an_update_obeys_the_same_limits() {
    let wrong = change(DealChanges { amount: Some(Decimal::from(-1)), ..DealChanges::default() });
    given(vec![created(DealStage::Proposal, None)])
        .when(wrong.clone())
        .then_expect_error(DealError::Field(FieldError::AmountOutOfRange { field: "amount" }));
    given(vec![]).when(wrong).then_expect_error(DealError::NotFound);
}

#[test]
fn a_closed_deal_no_longer_changes() {
    for closed in [DealStage::Won, DealStage::Lost] {
        let history = || vec![created(DealStage::Proposal, None), stage_changed(DealStage::Proposal, closed, 0)];
        for stage in DealStage::ALL {
            given(history()).when(to_stage(stage)).then_expect_error(DealError::Closed(closed));
        }
    }
    assert_eq!(DealError::Closed(DealStage::Won).to_string(), "the deal is won and no longer changes");
}

#[test]
fn events_are_stored_in_this_form() {
    let changed =
        DealEvent::Changed { title: None, amount: Some(Decimal::new(6_050, 2)), expected_close: Change::Clear };
    let golden = [
        (
            created(DealStage::Negotiation, None),
            json!({"created": {"id": 5, "stage": "negotiation", "probability": 70, "probability_by_hand": false,
                "from_lead": null, "details": {"title": "Miner Sales Contract", "customer_id": 1,
                "amount": "50000", "expected_close": "2025-03-15"}}}),
        ),
        (changed, json!({"changed": {"amount": "60.50", "expected_close": "clear"}})),
        (set(80, true), json!({"probability_changed": {"probability": 80, "by_hand": true}})),
        (
            stage_changed(DealStage::Proposal, DealStage::Won, 100),
            json!({"stage_changed": {"from": "proposal", "to": "won", "probability": 100}}),
        ),
    ];
    for (event, stored) in golden {
        assert_eq!(serde_json::to_value(&event).unwrap(), stored);
        assert_eq!(serde_json::from_value::<DealEvent>(stored).unwrap(), event);
    }
}
