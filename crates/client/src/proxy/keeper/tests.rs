use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use runtime::{ManualClock, Secret, Shutdown};

use super::*;

/// Of a token, up to when it is renewed, and in all.
const RENEWED_AFTER: Duration = Duration::from_mins(55);
const LIFETIME: Duration = Duration::from_hours(1);

/// A token service that can be away, and counts how often it is asked.
struct Service {
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    keeper: Arc<Keeper>,
    hand: ManualClock,
    clock: Clock,
    tasks: Tasks,
}

impl Service {
    fn new() -> Self {
        let (clock, hand) = Clock::manual("2026-11-24T10:00:00Z".parse().unwrap());
        let (away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let fetch = {
            let (away, asked, clock) = (Arc::clone(&away), Arc::clone(&asked), clock.clone());
            move |refused: Option<&Token>| {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                if away.load(Ordering::SeqCst) {
                    let (origin, cause) = ("https://sts.test".to_owned(), "refused".to_owned());
                    return Err(ClientError::Unreachable { origin, cause });
                }
                let instead = refused.map(|_| " instead").unwrap_or_default();
                Ok(Token {
                    text: Secret::new(format!("token {number}{instead}")),
                    expires_at: clock.now().plus(LIFETIME),
                    owner: "ada".to_owned(),
                })
            }
        };
        let tasks = Tasks::new(Shutdown::new());
        let keeper = Keeper::new(Box::new(fetch), clock.clone(), tasks.clone());
        Self { away, asked, keeper, hand, clock, tasks }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn text(&self) -> String {
        let token = self.keeper.token().await.unwrap();
        assert!(self.clock.now() < token.expires_at, "a dead token was handed out");
        token.text.expose().clone()
    }

    /// Waits until the keeper has asked so often and has its answer.
    async fn until_asked(&self, times: usize) {
        let mut seen = self.keeper.state.subscribe();
        let asked = Arc::clone(&self.asked);
        let waiting =
            seen.wait_for(|state| !state.renewing && asked.load(Ordering::SeqCst) >= times);
        drop(tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_while_nobody_connects() {
    let service = Service::new();
    service.keeper.first().await.unwrap();
    let running = service.tasks.spawn("tokens", Arc::clone(&service.keeper).run());
    assert_eq!(service.text().await, "token 1");
    service.hand.advance(RENEWED_AFTER);
    service.until_asked(2).await;
    assert_eq!(service.text().await, "token 2");
    service.tasks.shutdown().request();
    running.await.unwrap();
}

#[tokio::test]
async fn after_sleep_the_first_connection_waits_for_a_new_token() {
    // No timer runs: the machine slept through it.
    let service = Service::new();
    service.keeper.first().await.unwrap();
    service.hand.advance(Duration::from_hours(9));
    assert_eq!(service.text().await, "token 2");
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_make_a_dead_token_alive() {
    let service = Service::new();
    service.keeper.first().await.unwrap();
    let start = service.clock.now();
    service.hand.advance(LIFETIME);
    service.hand.set(start);
    assert_eq!(service.text().await, "token 2");
}

#[tokio::test]
async fn a_token_service_that_is_away_is_not_noticed_while_the_token_counts() {
    let service = Service::new();
    service.keeper.first().await.unwrap();
    let running = service.tasks.spawn("tokens", Arc::clone(&service.keeper).run());
    service.away.store(true, Ordering::SeqCst);
    service.hand.advance(RENEWED_AFTER);
    service.until_asked(2).await;
    assert_eq!(service.text().await, "token 1");
    // It is tried again by itself.
    service.away.store(false, Ordering::SeqCst);
    service.hand.advance(RETRY.0);
    service.until_asked(3).await;
    assert_eq!(service.text().await, "token 3");
    service.tasks.shutdown().request();
    running.await.unwrap();
}

#[tokio::test]
async fn when_no_token_can_be_had_a_client_is_told_so_and_nobody_hammers_the_service() {
    let service = Service::new();
    service.keeper.first().await.unwrap();
    service.away.store(true, Ordering::SeqCst);
    service.hand.advance(LIFETIME);
    for _ in 0..50 {
        let trouble = service.keeper.token().await.unwrap_err();
        assert!(matches!(trouble, Trouble::Token(_)), "{trouble}");
    }
    assert_eq!(service.asked(), 2);
    service.away.store(false, Ordering::SeqCst);
    service.hand.advance(ASKED_AGAIN);
    assert_eq!(service.text().await, "token 3");
}

#[tokio::test]
async fn connections_that_come_together_wait_for_one_token() {
    let service = Service::new();
    let together: Vec<_> = (0..20)
        .map(|_| {
            let keeper = Arc::clone(&service.keeper);
            service
                .tasks
                .spawn("client", async move { keeper.token().await.unwrap().text.expose().clone() })
        })
        .collect();
    for waiting in together {
        assert_eq!(waiting.await.unwrap(), "token 1");
    }
    assert_eq!(service.asked(), 1);
}

#[tokio::test]
async fn a_token_that_the_gateway_refuses_is_replaced_once() {
    let service = Service::new();
    service.keeper.first().await.unwrap();
    let refused = service.keeper.token().await.unwrap();
    // Refused as soon as it was fetched: another would be refused too.
    assert!(service.keeper.instead_of(&refused).await.is_none());
    service.hand.advance(REFUSED_AT_ONCE);
    let other = service.keeper.instead_of(&refused).await.unwrap();
    assert_eq!(other.text.expose(), "token 2 instead");
    // Another connection that was refused with the former takes the one that is there.
    let same = service.keeper.instead_of(&refused).await.unwrap();
    assert!(Arc::ptr_eq(&same, &other));
    assert_eq!(service.asked(), 2);
}
