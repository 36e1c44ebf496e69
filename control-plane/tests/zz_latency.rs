mod node;
mod plane;
use node::{Held, Node, join};
use plane::{Plane, settings};
use serde_json::json;
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    for n in [100, 10_000, 50_000_usize] {
        let mut resources: Vec<_> = vec![json!({"kind":"Upstream","name":"u","spec":{"endpoints":[{"url":"http://h:1"}]}})];
        resources.extend((0..n-1).map(|i| json!({"kind":"Api","name":format!("a{i}"),"spec":{"base_path":format!("/p{i}"),"upstream":"u","policies":[{"api_key":{}}]}})));
        let t=Instant::now();
        let a = plane.post("/api/v1/changes", json!({"resources":resources})).await;
        println!("bulk {n}: {:?} {}", t.elapsed(), &a.text[..a.text.len().min(100)]);
        let token = plane.post("/api/v1/join-tokens", json!({})).await.body["token"].as_str().unwrap().to_owned();
        let certified = join(plane.grpc, &token, "n").await?;
        let t=Instant::now();
        let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
        let revision = a.body["revision"].as_u64().unwrap();
        node.reach(revision).await?;
        println!("snapshot at {n}: {:?} {}", t.elapsed(), node.snapshots);
        let (mut commit, mut seen) = (vec![], vec![]);
        for i in 0..100_u64 {
            let body = json!({"spec":{"base_path":"/p7","upstream":"u","policies":[{"rate_limit":{"limit":i+1,"window":"1m"}}]}});
            let t=Instant::now();
            let (a, (r, at)) = tokio::join!(async { plane.put("/api/v1/tenants/default/apis/a7", body).await; t.elapsed() }, async { let r = node.reach(revision+i+1).await; (r, t.elapsed()) });
            r?;
            commit.push(a); seen.push(at);
        }
        commit.sort(); seen.sort();
        println!("at {n}: put p50 {:?} p99 {:?}; seen p50 {:?} p99 {:?}", commit[50], commit[98], seen[50], seen[98]);
        let m = plane.get("/metrics").await.text;
        for l in m.lines().filter(|l| l.contains("change_to_applied")) { println!("{l}"); }
    }
    Ok(())
}
