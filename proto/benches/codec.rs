//! What a round trip costs in the codec alone: `cargo bench -p proto --bench codec`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto::rpc::codec::{FrameReader, Incoming, decode, decode_params, encode_request};
use proto::rpc::types::SendParams;

const MESSAGES: u32 = 1_000;

fn codec(c: &mut Criterion) {
    let params = SendParams { to: "bob".to_owned(), body: "x".repeat(100), ..SendParams::default() };
    let mut stream = Vec::new();
    for id in 0..MESSAGES {
        encode_request(&mut stream, id, "message.send", &params).unwrap();
    }
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(MESSAGES.into()));
    group.bench_function("encode", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            for id in 0..MESSAGES {
                encode_request(&mut out, id, "message.send", black_box(&params)).unwrap();
            }
        });
    });
    group.bench_function("frame", |b| {
        b.iter(|| {
            let mut reader = FrameReader::default();
            reader.buffer().extend_from_slice(&stream);
            let mut bytes = 0;
            while let Some(frame) = reader.next_frame().unwrap() {
                bytes += frame.len();
            }
            assert_eq!(bytes, stream.len());
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut reader = FrameReader::default();
            reader.buffer().extend_from_slice(&stream);
            while let Some(frame) = reader.next_frame().unwrap() {
                let Incoming::Request { params, .. } = decode(frame).unwrap() else { unreachable!() };
                black_box(decode_params::<SendParams>(params).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
