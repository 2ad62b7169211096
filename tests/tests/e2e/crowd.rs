//! One command starts a crowd.

use tests::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn c6_four_peers_talk() {
    let swarm = Swarm::try_start(4, 4).unwrap();
    let mut steps = Vec::new();
    swarm.register_all(|done| steps.push(done)).await.unwrap();
    assert_eq!(steps, [1, 2, 3, 4]);
    swarm.ring(|_| {}).await.unwrap();
    for (index, name) in swarm.names().iter().enumerate() {
        let before = &swarm.names()[(index + 3) % 4];
        let ctl = swarm.daemon_of(index).ctl(name);
        let bodies = crate::util::bodies(&ctl, before, 10);
        assert_eq!(bodies, [format!("hello {name}, this is {before}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_forty_peers_on_three_daemons() {
    let swarm = Swarm::try_start(40, 3).unwrap();
    swarm.register_all(|_| {}).await.unwrap();
    let mut arrived = 0;
    swarm.ring(|done| arrived = done).await.unwrap();
    assert_eq!(arrived, 40);
}
