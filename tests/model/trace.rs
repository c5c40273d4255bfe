//! Traces: what callers, dispatchers, vendors and consumers ask of a store, in small numbers that shrink well.

use proptest::{collection::vec, option, prelude::*};

/// A request id and what it asks for: few of both, so that they meet again.
pub(crate) type Request = Option<(u8, u8)>;

/// A message to store. Times are seconds from now.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) tenant: u8,
    pub(crate) channel: u8,
    pub(crate) lane: u8,
    pub(crate) scheduled_in: Option<u8>,
    pub(crate) expires_in: Option<u8>,
    pub(crate) draft: bool,
    pub(crate) sensitive: bool,
    pub(crate) parts: bool,
    /// Its turn beside others of its sender: none, now, or in so many seconds.
    pub(crate) turn: Option<u8>,
    /// The id of an earlier message instead of a new one.
    pub(crate) taken: bool,
    pub(crate) request: Request,
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Owner,
    Stranger,
    Service,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum FactOp {
    HandedOff,
    Delivered,
    Read,
    Failed(u8),
}

#[derive(Clone, Debug)]
pub(crate) enum StepOp {
    Send { at: Option<u8>, recipient: Option<u8> },
    Cancel,
    Reschedule(u8),
    Retry,
    Delete,
    Learn { fact: FactOp, ago: u8, generation: Option<u8> },
}

#[derive(Clone, Debug)]
pub(crate) enum VerdictOp {
    Accepted { receipts: bool },
    Again { after: u8, counts: bool, ambiguous: bool },
    Hold(u8),
    Fail(u8),
    Expire,
    Paced(u8),
}

/// A change of one message.
#[derive(Clone, Debug)]
pub(crate) enum ChangeOp {
    Step {
        message: u8,
        who: Who,
        step: StepOp,
        request: Request,
    },
    /// The end of a claim, the latest or an old one; `repeated` under the id of the try before.
    Outcome {
        claim: u8,
        verdict: VerdictOp,
        repeated: bool,
        retire: Option<u8>,
    },
}

/// What a receipt is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    Message(u8),
    /// The try of a claim, ended or not.
    Try(u8),
    /// Both a message and a try, of it or of another.
    Both(u8, u8),
    Unknown(u8),
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct ReceiptOp {
    pub(crate) about: About,
    pub(crate) kind: u8,
    pub(crate) ago: u8,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Several at once: they may share a transaction.
    Accept(Vec<New>),
    /// Several at once.
    Change(Vec<ChangeOp>),
    Rewrite {
        message: u8,
        who: Who,
        lane: u8,
        scheduled_in: Option<u8>,
        expires_in: Option<u8>,
        old: bool,
        request: Request,
    },
    Claim {
        channel: u8,
        limit: u8,
    },
    Renew {
        claims: Vec<u8>,
        until: u8,
    },
    Release {
        claims: Vec<u8>,
    },
    Sweep {
        all: bool,
    },
    Receipts(Vec<ReceiptOp>),
    Apply {
        limit: u8,
    },
    Effects {
        events: u8,
        wrong_place: bool,
        again: bool,
    },
    Contact {
        tenant: u8,
        contact: u8,
        version: u8,
        deleted: bool,
        request: Request,
    },
    Device {
        tenant: u8,
        contact: u8,
        token: u8,
        retired: bool,
        request: Request,
    },
    Record {
        ticket: bool,
        request: Request,
    },
    Purge {
        ago: u8,
    },
    /// Time passes, in seconds.
    Pass(u8),
}

fn request() -> impl Strategy<Value = Request> {
    option::weighted(0.3, (0..3u8, 0..2u8))
}

fn new() -> impl Strategy<Value = New> {
    let times =
        (option::weighted(0.3, 0..40u8), option::weighted(0.2, 1..120u8), option::weighted(0.3, 0..20u8));
    let flags = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.04),
    );
    (0..2u8, 0..2u8, 0..3u8, times, flags, request()).prop_map(
        |(tenant, channel, lane, times, (draft, sensitive, parts, taken), request)| {
            let (scheduled_in, expires_in, turn) = times;
            New {
                tenant,
                channel,
                lane,
                scheduled_in,
                expires_in,
                draft,
                sensitive,
                parts,
                turn,
                taken,
                request,
            }
        },
    )
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![8 => Just(Who::Owner), 1 => Just(Who::Stranger), 3 => Just(Who::Service)]
}

fn fact() -> impl Strategy<Value = FactOp> {
    prop_oneof![
        Just(FactOp::HandedOff),
        Just(FactOp::Delivered),
        Just(FactOp::Read),
        (0..4u8).prop_map(FactOp::Failed)
    ]
}

fn step() -> impl Strategy<Value = StepOp> {
    let send = (option::of(0..40u8), option::of(0..3u8));
    let learn = (fact(), 0..20u8, option::weighted(0.4, 1..3u8));
    prop_oneof![
        3 => send.prop_map(|(at, recipient)| StepOp::Send { at, recipient }),
        3 => Just(StepOp::Cancel),
        2 => (0..60u8).prop_map(StepOp::Reschedule),
        4 => Just(StepOp::Retry),
        1 => Just(StepOp::Delete),
        4 => learn.prop_map(|(fact, ago, generation)| StepOp::Learn { fact, ago, generation }),
    ]
}

fn verdict() -> impl Strategy<Value = VerdictOp> {
    let again = (0..30u8, any::<bool>(), prop::bool::weighted(0.4));
    prop_oneof![
        4 => any::<bool>().prop_map(|receipts| VerdictOp::Accepted { receipts }),
        3 => again.prop_map(|(after, counts, ambiguous)| VerdictOp::Again { after, counts, ambiguous }),
        2 => (0..60u8).prop_map(VerdictOp::Hold),
        2 => (0..4u8).prop_map(VerdictOp::Fail),
        1 => Just(VerdictOp::Expire),
        2 => (0..20u8).prop_map(VerdictOp::Paced),
    ]
}

fn change() -> impl Strategy<Value = ChangeOp> {
    let repeated = prop::bool::weighted(0.15);
    let retire = option::weighted(0.1, 0..3u8);
    let outcome = (0..6u8, verdict(), repeated, retire);
    prop_oneof![
        (0..8u8, who(), step(), request()).prop_map(|(message, who, step, request)| ChangeOp::Step {
            message,
            who,
            step,
            request
        }),
        outcome.prop_map(|(claim, verdict, repeated, retire)| ChangeOp::Outcome {
            claim,
            verdict,
            repeated,
            retire
        }),
    ]
}

fn receipt() -> impl Strategy<Value = ReceiptOp> {
    let about = prop_oneof![
        2 => (0..8u8).prop_map(About::Message),
        5 => (0..6u8).prop_map(About::Try),
        2 => (0..8u8, 0..6u8).prop_map(|(message, claim)| About::Both(message, claim)),
        1 => (0..2u8).prop_map(About::Unknown),
        1 => Just(About::Nothing),
    ];
    (about, 0..9u8, 0..20u8).prop_map(|(about, kind, ago)| ReceiptOp { about, kind, ago })
}

fn rewrite() -> impl Strategy<Value = Op> {
    let times = (option::of(0..60u8), option::weighted(0.2, 1..120u8));
    (0..8u8, who(), 0..3u8, times, prop::bool::weighted(0.2), request()).prop_map(
        |(message, who, lane, (scheduled_in, expires_in), old, request)| Op::Rewrite {
            message,
            who,
            lane,
            scheduled_in,
            expires_in,
            old,
            request,
        },
    )
}

fn people() -> impl Strategy<Value = Op> {
    let contact = (0..2u8, 0..2u8, 0..4u8, any::<bool>(), request());
    let device = (0..2u8, 0..2u8, 0..3u8, any::<bool>(), request());
    prop_oneof![
        contact.prop_map(|(tenant, contact, version, deleted, request)| Op::Contact {
            tenant,
            contact,
            version,
            deleted,
            request
        }),
        device.prop_map(|(tenant, contact, token, retired, request)| Op::Device {
            tenant,
            contact,
            token,
            retired,
            request
        }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let effects = (1..8u8, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    prop_oneof![
        8 => vec(new(), 1..4).prop_map(Op::Accept),
        14 => vec(change(), 1..4).prop_map(Op::Change),
        3 => rewrite(),
        8 => (0..2u8, 0..5u8).prop_map(|(channel, limit)| Op::Claim { channel, limit }),
        2 => (vec(0..6u8, 1..3), 0..90u8).prop_map(|(claims, until)| Op::Renew { claims, until }),
        2 => vec(0..6u8, 1..4).prop_map(|claims| Op::Release { claims }),
        4 => prop::bool::weighted(0.5).prop_map(|all| Op::Sweep { all }),
        6 => vec(receipt(), 1..4).prop_map(Op::Receipts),
        3 => (1..9u8).prop_map(|limit| Op::Apply { limit }),
        2 => effects.prop_map(|(events, wrong_place, again)| Op::Effects { events, wrong_place, again }),
        2 => people(),
        1 => (any::<bool>(), request()).prop_map(|(ticket, request)| Op::Record { ticket, request }),
        1 => (0..90u8).prop_map(|ago| Op::Purge { ago }),
        5 => (0..90u8).prop_map(Op::Pass),
    ]
}

/// A trace.
pub(crate) fn trace() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..60)
}
