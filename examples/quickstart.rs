//! A phone and a tablet write about one lamp before they ever met. They sync; both edits are there
//! on both.
#![allow(clippy::print_stdout)]

use heirloom::{Content, Engine, EntityId, Patch};
use serde::Deserialize;

#[derive(Deserialize, Debug, PartialEq)]
struct Lamp {
    name: String,
    brightness: u8,
    color: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Devices that name the same dataset may write before they ever meet.
    let phone = Engine::builder().label("phone").dataset_name("home").in_memory()?;
    let tablet = Engine::builder().label("tablet").dataset_name("home").in_memory()?;

    // Both know the lamp by its serial number, so both derive the same id.
    let lamp = EntityId::v5(b"lamps by serial\0", b"DESK-0042");
    let desk = Content::new().with("name", "desk");

    // Offline, each device notes the lamp, and turns another of its knobs.
    phone.write(|tx| tx.create_with_id(lamp, "lamp", &desk))?;
    phone.write(|tx| tx.patch(lamp, Patch::new().set("brightness", 75)))?;
    tablet.write(|tx| tx.create_with_id(lamp, "lamp", &desk))?;
    tablet.write(|tx| tx.patch(lamp, Patch::new().set("color", "amber")))?;

    // They meet.
    let (report, _) = heirloom_sync::sync_in_process(&phone, &tablet)?;
    println!("{:?} after {} bytes", report.outcome, report.bytes_out + report.bytes_in);

    for device in [&phone, &tablet] {
        let seen: Lamp = device.snapshot()?.get(lamp)?.ok_or("the lamp is gone")?.read()?;
        println!("{} sees {seen:?}", device.device_id().unwrap_or_default());
        assert_eq!(seen, Lamp { name: "desk".into(), brightness: 75, color: "amber".into() });
    }
    assert_eq!(phone.log_root()?, tablet.log_root()?);
    Ok(())
}
