//! What sealing and opening cost: a lone message, and a batch of a hundred.

use std::hint::black_box;

use chatd::crypto::envelope::{SealTo, Sender, open, seal};
use chatd::crypto::keys::SigningKey;
use chatd::crypto::prekey::PrekeySecret;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId};
use proto::wire::envelope::{Core, Outer};

/// Bytes of one encoded core: a message of about 100 bytes.
const CORE_BYTES: usize = 270;

fn envelope(c: &mut Criterion) {
    let key = SigningKey::from_bytes(&[1; 32]);
    let Ok(prekey) = PrekeySecret::generate(0) else { return };
    let sender = Sender {
        account: AccountId([1; 16]),
        device: DeviceId::of_key(&key.public()),
        key: &key,
        record_seq: 1,
        record_hash: [1; 32],
    };
    let to = SealTo { device: DeviceId([2; 16]), prekey: prekey.public().clone() };
    let mut payload = vec![0; CORE_BYTES];
    let mut core = |seq: u64| {
        let mut make = |len: usize| {
            payload.resize(len, 0);
            Core {
                from: sender.account,
                from_device: sender.device,
                conversation: ConversationId([3; 16]),
                to: AccountId([2; 16]),
                id: MessageId([4; 16]),
                epoch: Epoch([5; 8]),
                seq,
                prev: [6; 32],
                time: 1_700_000_000_000,
                kind: "text",
                payload: &payload,
            }
            .encode()
        };
        let fixed = make(100).len() - 100;
        make(CORE_BYTES - fixed)
    };
    for count in [1, 100] {
        let cores: Vec<_> = (1..=count).map(&mut core).collect();
        let slices: Vec<_> = cores.iter().map(Vec::as_slice).collect();
        let mut group = c.benchmark_group("envelope");
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("seal", count), |b| {
            b.iter(|| seal(&sender, &to, vec![], black_box(&slices), 60).is_ok())
        });
        let Ok(sealed) = seal(&sender, &to, vec![], &slices, 60) else { return };
        group.bench_function(BenchmarkId::new("open", count), |b| {
            b.iter(|| {
                let outer = Outer::decode(black_box(&sealed)).ok()?;
                let opened = open(&outer, &prekey).ok()?;
                opened.verify(&key.public()).ok().map(|cores| cores.list.len())
            })
        });
    }
}

criterion_group!(benches, envelope);
criterion_main!(benches);
