//! MessageService.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Budget, caller,
    convert::{self, event::event, given_time, message},
    open, status,
};
use crate::{
    model::message::Message,
    pb,
    service::{
        Caller, CancelOutcome, Given, Report, Service, Violations, Wait, WaitUntil, watch::WatchSearch,
    },
};

/// How long `wait_until` waits when the call has no deadline.
const PATIENCE: Duration = Duration::from_secs(30);

/// The handlers.
pub(super) struct Messages(pub(super) Service);

type Answer<T> = Result<Response<T>, Status>;

impl Messages {
    fn answer(
        &self,
        caller: &Caller,
        result: Result<Arc<Message>, crate::service::Error>,
    ) -> Answer<pb::Message> {
        let found = result.map_err(status::of)?;
        Ok(Response::new(message::message(&found, &self.0.context(caller))))
    }
}

#[async_trait]
impl pb::message_service_server::MessageService for Messages {
    async fn create(&self, request: Request<pb::CreateMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let draft = message::draft(body.message.unwrap_or_default());
        self.answer(&caller, self.0.create(&caller, draft, request_id).await)
    }

    async fn get(&self, request: Request<pb::GetMessageRequest>) -> Answer<pb::Message> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        present(body.as_of, Violations::default())?;
        self.answer(&caller, self.0.get(&caller, &body.id).await)
    }

    async fn find(&self, request: Request<pb::FindMessagesRequest>) -> Answer<pb::FindMessagesResponse> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search = convert::filter::search(
            body.filter,
            &body.order_by,
            body.page_size,
            body.page_token,
            body.include_deleted,
        );
        present(body.as_of, search.violations.clone())?;
        let page = self.0.find(&caller, search).await.map_err(status::of)?;
        let context = self.0.context(&caller);
        let messages = page.items.iter().map(|found| message::message(found, &context)).collect();
        Ok(Response::new(pb::FindMessagesResponse { messages, next_page_token: page.next_page_token }))
    }

    async fn update(&self, request: Request<pb::UpdateMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let given = body.message.unwrap_or_default();
        let id = given.id.clone();
        let patch = message::patch(given, body.update_mask);
        self.answer(&caller, self.0.update(&caller, &id, patch, request_id).await)
    }

    async fn delete(&self, request: Request<pb::DeleteMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        self.answer(&caller, self.0.delete(&caller, &body.id, request_id).await)
    }

    async fn send(&self, request: Request<pb::SendMessageRequest>) -> Answer<pb::Message> {
        use pb::send_message_request::Target;
        let budget = request.extensions().get::<Budget>().copied();
        let (caller, body, request_id) = open!(request);
        let mut violations = Violations::default();
        let wait = wait(&mut violations, body.wait_until, budget);
        let (draft, missing) = match body.target {
            Some(Target::Id(id)) => {
                let mut at = given_time("scheduled_at", body.scheduled_at);
                at.violations.0.extend(violations.0);
                let sent = self.0.send_draft(&caller, &id, at, wait, request_id).await;
                return self.answer(&caller, sent);
            }
            Some(Target::Message(given)) => (*given, false),
            None => (pb::Message::default(), true),
        };
        if missing {
            violations.add("message", "is required: a message, or the `id` of a draft");
        }
        let given =
            message::draft(pb::Message { scheduled_at: body.scheduled_at.or(draft.scheduled_at), ..draft });
        violations.0.extend(given.violations.0);
        let given = Given { value: given.value, violations };
        self.answer(&caller, self.0.send(&caller, given, wait, request_id).await)
    }

    async fn send_batch(
        &self,
        request: Request<pb::SendMessageBatchRequest>,
    ) -> Answer<pb::SendMessageBatchResponse> {
        use pb::send_message_batch_response::{Result as Item, result};
        let (caller, body, request_id) = open!(request);
        let items = body.messages.into_iter().map(message::draft).collect();
        let results = self.0.send_batch(&caller, items, body.atomic, request_id).await.map_err(status::of)?;
        let context = self.0.context(&caller);
        let result = |result: Result<Arc<Message>, _>| match result {
            Ok(sent) => result::Result::Message(message::message(&sent, &context)),
            Err(error) => result::Result::Status(status::as_message(error)),
        };
        let results = results.into_iter().map(|one| Item { result: Some(result(one)) });
        Ok(Response::new(pb::SendMessageBatchResponse { results: results.collect() }))
    }

    async fn deliver(&self, request: Request<pb::DeliverMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let at = given_time("at", body.at);
        let report = Given { value: Report::Delivered, violations: at.violations };
        self.answer(&caller, self.0.report(&caller, &body.id, report, at.value, request_id).await)
    }

    async fn read(&self, request: Request<pb::ReadMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let at = given_time("at", body.at);
        let report = Given { value: Report::Read, violations: at.violations };
        self.answer(&caller, self.0.report(&caller, &body.id, report, at.value, request_id).await)
    }

    async fn fail(&self, request: Request<pb::FailMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let mut at = given_time("at", body.at);
        let reason = convert::reason(&mut at.violations, body.reason);
        let report = Report::Failed {
            reason: reason.unwrap_or(crate::model::status::Reason::Reported),
            code: convert::text(body.code),
            detail: convert::text(body.detail),
        };
        let report = Given { value: report, violations: at.violations };
        self.answer(&caller, self.0.report(&caller, &body.id, report, at.value, request_id).await)
    }

    async fn cancel(&self, request: Request<pb::CancelMessageRequest>) -> Answer<pb::CancelMessageResponse> {
        use pb::cancel_message_response::Outcome;
        let (caller, body, request_id) = open!(request);
        let (outcome, found) = self.0.cancel(&caller, &body.id, request_id).await.map_err(status::of)?;
        let outcome = match outcome {
            CancelOutcome::Cancelled => Outcome::Cancelled,
            CancelOutcome::TooLate => Outcome::TooLate,
            CancelOutcome::AlreadyCancelled => Outcome::AlreadyCancelled,
        };
        let message = Some(message::message(&found, &self.0.context(&caller)));
        Ok(Response::new(pb::CancelMessageResponse { outcome: outcome.into(), message }))
    }

    async fn reschedule(&self, request: Request<pb::RescheduleMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        let at = given_time("scheduled_at", body.scheduled_at);
        self.answer(&caller, self.0.reschedule(&caller, &body.id, at, request_id).await)
    }

    async fn retry(&self, request: Request<pb::RetryMessageRequest>) -> Answer<pb::Message> {
        let (caller, body, request_id) = open!(request);
        self.answer(&caller, self.0.retry(&caller, &body.id, request_id).await)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchMessagesResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchMessagesRequest>) -> Answer<Self::WatchStream> {
        let caller = caller(request.extensions())?;
        let body = request.into_inner();
        let search = WatchSearch {
            cursor: body.cursor,
            messages: true,
            message: body.message,
            target: String::new(),
            contact: body.contact,
            thread: body.thread,
            campaign: body.campaign,
            types: body.types,
            until_final: body.until_final,
            include_message: body.include_message,
        };
        let events = self.0.watch(&caller, search).await.map_err(status::of)?;
        let context = self.0.context(&caller);
        let answers = events.map(move |watched| {
            let (line, found) = watched.map_err(status::of)?;
            let message = found.map(|found| message::message(&found, &context));
            Ok(pb::WatchMessagesResponse { event: Some(event(&line)), message })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainMessageRequest>,
    ) -> Answer<pb::ExplainMessageResponse> {
        let caller = caller(request.extensions())?;
        let explanation = self.0.explain(&caller, &request.into_inner().id).await.map_err(status::of)?;
        let message = Some(message::message(&explanation.message, &self.0.context(&caller)));
        let decisions = explanation.decisions.into_iter().map(convert::event::decision).collect();
        Ok(Response::new(pb::ExplainMessageResponse { message, decisions }))
    }
}

/// Refuses reads of the past, together with what else is wrong.
fn present(as_of: Option<prost_types::Timestamp>, mut violations: Violations) -> Result<(), Status> {
    if as_of.is_none() {
        return Ok(());
    }
    violations.add("as_of", "is not served by this version: leave it out for the present");
    violations.done().map_err(status::of)
}

/// How far to wait, within the time of the call.
fn wait(violations: &mut Violations, value: i32, budget: Option<Budget>) -> Wait {
    let until = convert::read_enum!(violations, "wait_until", value, pb::send_message_request::WaitUntil, [
        Accepted => WaitUntil::Accepted,
        Sent => WaitUntil::Sent,
        Delivered => WaitUntil::Delivered,
    ]);
    // A part of the time is left for the way back.
    let at_most = budget.map_or(PATIENCE, |Budget(time)| {
        let margin = (time / 10).clamp(Duration::from_millis(20), Duration::from_millis(500));
        time.saturating_sub(margin)
    });
    Wait { until: until.unwrap_or_default(), at_most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_before_the_call_does() {
        let at_most = |millis| {
            let budget = Some(Budget(Duration::from_millis(millis)));
            wait(&mut Violations::default(), 2, budget).at_most.as_millis()
        };
        assert_eq!([at_most(10), at_most(100), at_most(1_000), at_most(60_000)], [0, 80, 900, 59_500]);
        assert_eq!(
            wait(&mut Violations::default(), 0, None),
            Wait { until: WaitUntil::Accepted, at_most: PATIENCE }
        );
        let mut violations = Violations::default();
        wait(&mut violations, 9, None);
        assert!(violations.names("wait_until"));
    }

    #[test]
    fn the_past_is_refused_with_everything_else() {
        let mut violations = Violations::default();
        violations.add("order_by", "x");
        assert!(present(None, violations.clone()).is_ok());
        let refused = present(Some(prost_types::Timestamp::default()), violations).err();
        assert!(refused.is_some_and(|refused| refused.message().contains("order_by, as_of")));
    }
}
