//! Callers whose API keys are created and revoked while they ask.

use super::*;

#[test]
fn a_revoked_key_writes_nothing_whoever_leads() {
    let (mut denied, mut allowed) = (0, 0);
    for seed in 0..10 {
        let knobs = Knobs { api_keys: true, ..busy_clients(seed) };
        let (mut world, _) = at_work(knobs);
        for _ in 0..4 {
            let leader = leader_of(&world);
            world.crash(leader);
            until(&mut world, "another one leads", |world| (0..3).any(|node| node != leader && leads(world, node)));
            world.restart(leader);
            assert!(answered_during(&mut world, SECOND) > 0, "payments continue");
        }
        denied += world.clients.denied();
        let rows = &world.nodes[leader_of(&world)].disk.rows;
        allowed += rows.iter().filter(|entry| entry.principal.is_some()).count();
        finish(world);
    }
    assert!(denied > 100 && allowed > 100, "{denied} denied, {allowed} allowed");
}
