//! Spans and events at the seams, as a subscriber of `tracing` gets them.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use heirloom::{Content, Engine, Lsn};
use heirloom_sync::sync_in_process;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps what is told in words.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Told {
    fn push(&self, metadata: &Metadata<'_>, fields: impl FnOnce(&mut Words)) {
        let mut words = Words(format!("{} {}", metadata.target(), metadata.level()));
        if metadata.is_span() {
            words.0.push_str(&format!(" {}", metadata.name()));
        }
        fields(&mut words);
        self.0.lock().unwrap().push(words.0);
    }

    /// What was told meanwhile.
    fn while_doing(&self, act: impl FnOnce()) -> String {
        self.0.lock().unwrap().clear();
        tracing::subscriber::with_default(self.clone(), act);
        self.0.lock().unwrap().join("\n")
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("heirloom")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.push(span.metadata(), |words| span.record(words));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.push(event.metadata(), |words| event.record(words));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn open(label: &str) -> Engine {
    Engine::builder().label(label).dataset_name("home").in_memory().unwrap()
}

#[test]
fn opening_writing_receiving_and_verifying_are_told_and_contents_are_not() {
    let told = Told::default();
    let opening = told.while_doing(|| drop(open("phone")));
    let opened = "heirloom INFO message=opened commits=0 opened=New read_only=false";
    // and closing brings the name of the dataset from the journal into the tables
    assert!(opening.contains(opened) && opening.ends_with("DEBUG drain rows=1"), "{opening}");

    let (phone, hub) = (open("phone"), open("hub"));
    let secret = Content::new().with("secret", "xyzzy");
    let writing = told.while_doing(|| _ = phone.write(|tx| tx.create("lamp", &secret)).unwrap());
    let commit = "heirloom TRACE message=commit line=0 first=1 versions=1\nheirloom DEBUG flush ";
    assert!(writing.starts_with(commit) && writing.ends_with(" commits=1 healed=0"), "{writing}");

    let all = phone.replication().commits(Lsn::START, Lsn::END, &|_, _, _| true, usize::MAX);
    let all = all.unwrap().commits;
    let bytes: Vec<&[u8]> = all.iter().map(|commit| &commit.bytes[..]).collect();
    let receiving = told.while_doing(|| drop(hub.replication().ingest(&bytes).unwrap()));
    assert!(receiving.starts_with("heirloom DEBUG ingest commits=1\n"), "{receiving}");
    assert!(
        receiving.ends_with("heirloom DEBUG message=ingested added=1 skipped=0 healed=0"),
        "{receiving}"
    );

    let verifying = told.while_doing(|| drop(hub.verify().unwrap()));
    assert_eq!(verifying, "heirloom INFO message=verified commits=1 problems=0");
    let syncing = told.while_doing(|| drop(sync_in_process(&open("watch"), &hub).unwrap()));
    let met = "heirloom_sync DEBUG message=met ";
    let ended = "heirloom_sync INFO message=verified with the peer sent=0 received=1 settled=true";
    assert!(syncing.contains(met) && syncing.contains(ended), "{syncing}");
    for words in [writing, receiving, verifying, syncing] {
        assert!(!words.contains("xyzzy") && !words.contains("secret"), "{words}");
    }
}
