//! Single reads, by criterion: the price of a look at one entity, settled and diverged.

use criterion::{Criterion, criterion_group, criterion_main};
use heirloom::{Content, Engine, Patch};

fn reads(c: &mut Criterion) {
    let engine = |label: &str| {
        Engine::builder().label(label).dataset_name("bench").in_memory().expect("open")
    };
    let (a, b) = (engine("a"), engine("b"));
    let content =
        (0..8).fold(Content::new(), |c, i| c.with(format!("field{i}"), "some words of text"));
    let create = |e: &Engine| e.write(|tx| tx.create("lamp", &content)).expect("create");
    let (settled, diverged) = (create(&a), create(&a));
    heirloom_sync::sync_in_process(&a, &b).expect("sync");
    for (e, text) in [(&a, "left"), (&b, "right")] {
        e.write(|tx| tx.patch(diverged, Patch::new().set("field3", text))).expect("patch");
    }
    heirloom_sync::sync_in_process(&a, &b).expect("sync");
    let snapshot = a.snapshot().expect("open");
    c.bench_function("get settled", |x| {
        x.iter(|| snapshot.get(settled).expect("get").expect("there").content())
    });
    c.bench_function("get diverged", |x| {
        x.iter(|| snapshot.get(diverged).expect("get").expect("there").content())
    });
    c.bench_function("history of two", |x| {
        x.iter(|| snapshot.history(diverged).expect("history").count())
    });
}

criterion_group!(benches, reads);
criterion_main!(benches);
