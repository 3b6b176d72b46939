//! Assertions that count once are used up in groups: all that wait while one group is being written make the next one, with
//! one write of the store and one of the audit log. So the disk bounds how long a token takes, not how many there are.

use control::{Control, Verb};
use model::Refusal;
use model::event::EventBody;
use runtime::Tasks;
use tokio::sync::{mpsc, oneshot};

use crate::client::OneTime;
use crate::failure::Failure;
use crate::issue::refused;
use crate::service::store_failed;

/// Whoever comes when so many wait already, waits for a place.
const WAITING_MAX: usize = 1_024;

/// So many in one write: it holds up other writes for some milliseconds.
const GROUP_MAX: usize = 256;

type Answer = Result<Result<(), Failure>, Refusal>;

/// One assertion, and the record of the token that it is for.
struct Claim {
    one_time: OneTime,
    event: EventBody,
    answer: oneshot::Sender<Answer>,
}

/// Where assertions are used up.
#[derive(Debug)]
pub(crate) struct Spender {
    claims: mpsc::Sender<Claim>,
}

impl Spender {
    /// It ends when the service that has it does.
    pub(crate) fn start(control: Control, tasks: &Tasks) -> Self {
        let (claims, waiting) = mpsc::channel(WAITING_MAX);
        drop(tasks.spawn("assertions", run(control, waiting)));
        Self { claims }
    }

    /// Uses the assertion up and records the token, both or neither. A refusal is recorded in the token's place. Who
    /// goes away meanwhile has used it up.
    pub(crate) async fn spend(
        &self,
        one_time: OneTime,
        event: EventBody,
    ) -> Result<Result<(), Failure>, Failure> {
        let (answer, answered) = oneshot::channel();
        let ended = |_| store_failed("the task that uses assertions up has ended");
        self.claims
            .send(Claim { one_time, event, answer })
            .await
            .map_err(|_| store_failed("the task that uses assertions up has ended"))?;
        answered.await.map_err(ended)?.map_err(store_failed)
    }
}

async fn run(control: Control, mut waiting: mpsc::Receiver<Claim>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
        let mut claims = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for Claim { one_time, event, answer } in group.drain(..) {
            claims.push((one_time, event));
            answers.push(answer);
        }
        let written = control.system(Verb::SignIn, "assertions", move |writing| {
            let mut outcomes = Vec::with_capacity(claims.len());
            for (one_time, event) in claims {
                let outcome = one_time.spend(writing)?;
                writing.note(match &outcome {
                    Ok(()) => event,
                    Err(failure) => refused(event, failure),
                });
                outcomes.push(outcome);
            }
            Ok(outcomes)
        });
        match written.await {
            Ok(committed) => {
                for (answer, outcome) in answers.into_iter().zip(committed.value) {
                    // Who has gone needs no answer.
                    drop(answer.send(Ok(outcome)));
                }
            }
            Err(refusal) => {
                for answer in answers {
                    drop(answer.send(Err(refusal.clone())));
                }
            }
        }
    }
}
