#![allow(clippy::unwrap_used)]

use governor::clock::FakeRelativeClock;
use proto::ids::AccountId;

use super::*;

fn rates() -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (RateLimits::with_clock(&Limits::default(), clock.clone()), clock)
}

fn n(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

const BOB: AccountId = AccountId([0xb0; 16]);
const CAROL: AccountId = AccountId([0xca; 16]);

fn stranger(number: u16) -> AccountId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    AccountId(id)
}

#[test]
fn three_requests_an_hour_from_one_identity() {
    let (rates, clock) = rates();
    for _ in 0..3 {
        assert!(rates.requests.check(BOB, stranger(1), Some("a.example")).is_ok());
    }
    let wait = rates.requests.check(BOB, stranger(1), Some("a.example")).unwrap_err().0;
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1_200), "{wait:?}");
    assert!(rates.requests.check(CAROL, stranger(1), Some("a.example")).is_ok(), "carol's allowance is her own");
    clock.advance(wait);
    assert!(rates.requests.check(BOB, stranger(1), Some("a.example")).is_ok());
    assert!(rates.requests.check(BOB, stranger(1), Some("a.example")).is_err());
}

#[test]
fn ten_from_one_domain_and_thirty_in_all() {
    let (rates, _) = rates();
    let passed = |domain: &str, from: u16| {
        (from..from + 20).filter(|i| rates.requests.check(BOB, stranger(*i), Some(domain)).is_ok()).count()
    };
    assert_eq!(passed("a.example", 0), 10);
    assert_eq!(passed("A.EXAMPLE", 20), 0, "case makes no other domain");
    assert_eq!(passed("b.example", 40), 10);
    assert_eq!(passed("c.example", 60), 10);
    assert_eq!(passed("d.example", 80), 0);
}

#[test]
fn honest_bulk_passes_and_a_strangers_flood_does_not() {
    let (rates, clock) = rates();
    let node = NodeId([1; 32]);
    // 50,000 messages a second in full envelopes: 16 MB a second, for ten seconds.
    for _ in 0..10 {
        for _ in 0..245 {
            rates.known_bytes.check(&node, 65_536 + 300).unwrap();
        }
        clock.advance(Duration::from_secs(1));
    }
    let mut taken = 0;
    while rates.stranger_bytes.check(&node, 10_240).is_ok() {
        taken += 10_240;
    }
    assert!((2_000_000..=2 << 20).contains(&taken), "{taken}");
    let wait = rates.stranger_bytes.check(&node, 10_240).unwrap_err().0;
    assert!(wait <= Duration::from_millis(10), "{wait:?}");
    clock.advance(wait);
    assert!(rates.stranger_bytes.check(&node, 10_240).is_ok());
    assert!(rates.stranger_bytes.check(&NodeId([2; 32]), 10_240).is_ok());
}

#[test]
fn the_largest_frame_passes_even_the_tightest_rate() {
    let limits = Limits { stranger_node_bytes_per_second: n(1_024), ..Limits::default() };
    let clock = FakeRelativeClock::default();
    let rates = RateLimits::with_clock(&limits, clock.clone());
    let node = NodeId([1; 32]);
    assert!(rates.stranger_bytes.check(&node, MAX_FRAME_BYTES).is_ok());
    assert!(rates.stranger_bytes.check(&node, MAX_FRAME_BYTES).is_err());
    clock.advance(Duration::from_secs(72));
    assert!(rates.stranger_bytes.check(&node, MAX_FRAME_BYTES).is_ok());
    assert!(rates.stranger_bytes.check(&node, usize::MAX).is_err());
}

/// How many sources flood: `cargo xtask torture` asks for ten million.
fn sources() -> u64 {
    std::env::var("CHATD_TORTURE_SOURCES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

fn resident_kib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 4
}

#[test]
fn a_million_sources_keep_the_memory_flat_and_the_known_ones_unharmed() {
    let clock = FakeRelativeClock::default();
    let limiter = KeyedLimiter::new(n(2), Duration::from_secs(60), n(1_000), clock.clone());
    assert!(limiter.check(&u64::MAX).is_ok());
    let sources = sources();
    let (mut granted, before) = (0, resident_kib());
    for source in 0..sources {
        granted += usize::from(limiter.check(&source).is_ok());
        assert!(limiter.len() <= 1_000);
    }
    let grown = resident_kib().saturating_sub(before);
    println!("figure: {sources} sources in a limiter: {} keys kept, {grown} KiB of memory more", limiter.len());
    // Other tests share this process; a key kept for each source would be 100 MiB and more.
    assert!(grown < 64 * 1024, "{grown} KiB");
    // One each for those that found room, and one shared allowance for the million others.
    assert_eq!(granted, 999 + 2);
    assert!(limiter.check(&u64::MAX).is_ok(), "who was there before keeps the rest of his own allowance");
    assert!(limiter.check(&u64::MAX).is_err());
    // When the flood is over, its keys go.
    clock.advance(Duration::from_secs(100));
    assert!(limiter.check(&(sources + 1)).is_ok());
    assert_eq!(limiter.len(), 1);
    clock.advance(Duration::from_secs(100));
    limiter.sweep();
    assert!(limiter.is_empty());
}

#[test]
fn a_key_is_not_forgotten_while_it_owes() {
    let clock = FakeRelativeClock::default();
    let limiter = KeyedLimiter::new(n(3), Duration::from_secs(3_600), n(10), clock.clone());
    while limiter.check(&1).is_ok() {}
    clock.advance(Duration::from_secs(1_100));
    limiter.sweep();
    assert!(limiter.check(&1).is_err(), "sweeping must not refill");
}
