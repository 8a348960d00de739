//! Every 97th bit of the smallest store that has something in each table, flipped; `every_bit` flips them all.

use heirloom_tests::every_bit::Scene;

#[test]
fn a_flipped_bit_is_an_error_and_no_panic_and_is_mended_or_named() {
    let scene = Scene::default();
    let tally = scene.run(0, 97, 2, &|_| {});
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert_eq!(tally.openings, scene.bits().div_ceil(97));
    // it does something: bits of each kind were hit
    assert!(tally.named > 50 && tally.mended > 20, "{tally:?}");
}
