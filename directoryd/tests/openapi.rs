//! `/openapi.json` is true: it names every route and method that is served and no other, and real answers have the
//! shapes that it says.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::*;
use directoryd::config::ListPolicy;
use proto::directory::api::*;
use reqwest::{Method, Response};
use serde_json::Value;

/// The part of JSON Schema that the description uses; anything else in it is an error here.
fn check(api: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema.get("$ref") {
        let target = api.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap();
        return check(api, target, value, at);
    }
    let known = [
        "type",
        "description",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "enum",
        "pattern",
        "format",
        "minLength",
        "minimum",
        "maximum",
        "default",
    ];
    for key in schema.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{at}: {key} is not checked");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|t| t.as_str().unwrap()).collect(),
        other => panic!("{at}: type {other}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at}: {is} where the description says {types:?}");
    if let (Some(allowed), false) = (schema.get("enum"), value.is_null()) {
        assert!(allowed.as_array().unwrap().contains(value), "{at}: {value}");
    }
    if schema["format"] == "base64url" {
        assert!(Base64::parse(value.as_str().unwrap()).is_some(), "{at}: {value}");
    }
    if schema["pattern"] == "^[0-9a-f]{32}$" && !value.is_null() {
        assert!(value.as_str().unwrap().parse::<proto::ids::AccountId>().is_ok(), "{at}: {value}");
    }
    if let Value::Array(items) = value {
        items.iter().for_each(|item| check(api, &schema["items"], item, at));
    }
    if let (Value::Object(fields), Some(properties)) = (value, schema.get("properties")) {
        for field in schema["required"].as_array().unwrap() {
            assert!(fields.contains_key(field.as_str().unwrap()), "{at}: {field} is missing");
        }
        for (key, field) in fields {
            let property = properties.get(key).unwrap_or_else(|| panic!("{at}: {key} is not described"));
            check(api, property, field, &format!("{at}.{key}"));
        }
    }
}

/// Checks one real answer against the description of its route.
async fn true_answer(api: &Value, method: &Method, path: &str, response: Response) -> u16 {
    let status = response.status().as_u16();
    let at = format!("{method} {path} {status}");
    let operation = &api["paths"][path][method.as_str().to_lowercase()];
    let described = operation["responses"].get(status.to_string()).unwrap_or_else(|| panic!("{at} is not described"));
    let kind = response.headers()["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let schema = &described["content"].get(&kind).unwrap_or_else(|| panic!("{at}: {kind}"))["schema"];
    let text = response.text().await.unwrap();
    let value = if kind == "application/json" { serde_json::from_str(&text).unwrap() } else { Value::String(text) };
    check(api, schema, &value, &at);
    status
}

#[test]
fn every_route_and_no_other_is_described() {
    let api: Value = serde_json::from_str(include_str!("../src/routes/openapi.json")).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    let mut served = BTreeSet::new();
    for (path, methods, _) in directoryd::routes::table() {
        served.extend(methods.iter().map(|method| format!("{method} {path}")));
    }
    assert_eq!(described, served);
    // Every reference leads somewhere, and every code is a code.
    let text = api.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(api.pointer(reference).is_some(), "{reference}");
    }
    for code in
        api["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"].as_array().unwrap()
    {
        assert_ne!(serde_json::from_value::<ErrorCode>(code.clone()).unwrap(), ErrorCode::Unknown, "{code}");
    }
}

#[tokio::test]
async fn real_answers_have_the_described_shapes() {
    let directory = Directory::with(|config| config.list = ListPolicy::Off).await;
    let api: Value = directory.get("/openapi.json").await.json().await.unwrap();
    let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
    let mut alice = person("alice");
    alice.list_address = true;
    let mut mallory = person("mallory");
    mallory.name = "alice".into();
    let mut seen = BTreeSet::new();
    let mut note = |method: &Method, path: &str, status: u16| {
        seen.insert(format!("{} {path} {status}", method.as_str().to_lowercase()));
    };
    let records = "/v1/records/{name}";
    for (response, expected) in [
        (directory.publish(&alice, 2).await, 201),
        (directory.publish(&alice, 3).await, 200),
        (directory.publish(&alice, 1).await, 409),
        (directory.publish(&mallory, 1).await, 409),
        (directory.put("/v1/records/alice", &Value::Null).await, 400),
        (directory.put("/v1/records/alice", &"x".repeat(100_000)).await, 413),
    ] {
        let status = true_answer(&api, &put, records, response).await;
        assert_eq!(status, expected);
        note(&put, records, status);
    }
    let reach = alice.reach(1, "192.0.2.1:1");
    let response = directory.put("/v1/reach", &reach).await;
    note(&put, "/v1/reach", true_answer(&api, &put, "/v1/reach", response).await);
    for bad in [Value::Null, serde_json::json!({"reach": "AAAA"})] {
        let response = directory.put("/v1/reach", &bad).await;
        note(&put, "/v1/reach", true_answer(&api, &put, "/v1/reach", response).await);
    }
    let session = directory.session(&alice).await;
    let account = alice.account();
    let mailbox = "/v1/mailbox/{account}";
    let envelope = envelope(alice.device_id(), 60, b"hello alice");
    let mut session = session;
    session.give_token(&[42; 32]).await;
    for (response, expected) in [
        (directory.deposit(&alice, Some(&[42; 32]), envelope.clone()).await, 201),
        (directory.deposit(&alice, Some(&[42; 32]), envelope.clone()).await, 200),
        (directory.deposit(&alice, Some(&[41; 32]), envelope.clone()).await, 403),
        (directory.deposit(&alice, None, envelope.clone()).await, 403),
        (directory.deposit(&person("nobody"), None, envelope.clone()).await, 404),
        (directory.deposit(&alice, Some(&[42; 32]), vec![1; 5]).await, 400),
        (directory.deposit(&alice, Some(&[42; 32]), vec![1; 100_000]).await, 413),
    ] {
        let status = true_answer(&api, &Method::POST, mailbox, response).await;
        assert_eq!(status, expected);
        note(&Method::POST, mailbox, status);
    }
    group_answers(&directory, &session.token, &api, &mut note).await;
    for (path, url) in [
        ("/v1/nonce", "/v1/nonce".to_owned()),
        ("/v1/directory", "/v1/directory".into()),
        ("/v1/directory", format!("/v1/directory?challenge={}", "A".repeat(43))),
        ("/v1/directory", "/v1/directory?challenge=AA".into()),
        ("/v1/membership", "/v1/membership".into()),
        (records, "/v1/records/alice".into()),
        (records, "/v1/records/bob".into()),
        (records, "/v1/records/a%20b".into()),
        ("/v1/accounts/{account}", format!("/v1/accounts/{account}")),
        ("/v1/accounts/{account}", format!("/v1/accounts/{}", "0".repeat(32))),
        ("/v1/accounts/{account}", "/v1/accounts/x".into()),
        ("/v1/reach/{account}", format!("/v1/reach/{account}")),
        ("/v1/reach/{account}", "/v1/reach/x".into()),
        ("/v1/users", "/v1/users".into()),
        ("/v1/users", "/v1/users?name=alice".into()),
        ("/v1/users", "/v1/users?limit=x".into()),
        ("/v1/session", "/v1/session".into()),
        ("/relay", "/relay".into()),
        ("/ping", "/ping".into()),
        ("/healthz", "/healthz".into()),
        ("/metrics", "/metrics".into()),
        ("/openapi.json", "/openapi.json".into()),
        ("/", "/".into()),
        ("/", "/?x=1".into()),
    ] {
        for response in [directory.get(&url).await, directory.get_as(&url, &session.token).await] {
            note(&get, path, true_answer(&api, &get, path, response).await);
        }
        if path == records {
            let response = directory.get_as(&url, "no-session").await;
            note(&get, path, true_answer(&api, &get, path, response).await);
        }
    }
    let response = directory.unregister(&alice).await;
    note(&delete, records, true_answer(&api, &delete, records, response).await);
    let response = directory.unregister(&alice).await;
    note(&delete, records, true_answer(&api, &delete, records, response).await);
    // Every route gave its success.
    for (path, methods, _) in directoryd::routes::table() {
        for method in methods.iter().filter(|_| !["/v1/session", "/relay"].contains(&path)) {
            assert!(seen.contains(&format!("{method} {path} 200")), "{method} {path}: {seen:#?}");
        }
    }
    directory.stop().await;
}

/// The calls of a log: each with what it succeeds by, and with some of what it refuses.
async fn group_answers(directory: &Directory, bearer: &str, api: &Value, note: &mut impl FnMut(&Method, &str, u16)) {
    use proto::directory::groups::access::{GROUP_TOKEN_HEADER, read_token, write_token};
    use proto::directory::groups::{Append, EntryKind};
    use tests::team::{Team, event, key};

    let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
    let team = Team::new("team");
    let (root, header) = (team.root_by(&team.root).unwrap(), team.header().unwrap());
    let made = serde_json::json!({"root": Base64(root), "header": Base64(header)}).to_string().into_bytes();
    let nonce = NonceAnswer { nonce: directory.nonce().await, origin: ORIGIN.into(), time: 0 };
    let keep = {
        let message = proto::directory::groups::access::keep_message(ORIGIN, &nonce.nonce, team.log, false, &[1], &[]);
        let signature = ed25519_dalek::Signer::sign(&team.log_key, &message).to_bytes().to_vec();
        serde_json::json!({"nonce": nonce.nonce, "numbers": [1], "drop": false, "signature": Base64(signature)})
    };
    let slot = {
        let device = key("device");
        let own = tests::team::public(&device);
        let sign = |bytes: &[u8]| ed25519_dalek::Signer::sign(&device, bytes).to_bytes();
        let slot = proto::directory::groups::SignedSlot::sign(team.log, own, 1, b"marks", sign).unwrap();
        serde_json::json!({"slot": Base64(slot.encode())})
    };
    let genesis = event(0, b"genesis").encode();
    let keys = Append::new(EntryKind::Keys, b"seeds".to_vec()).encode();
    let (reads, writes) = (Some(read_token(&team.seed)), Some(write_token(&team.seed)));
    let guess = Some([0; 32]);
    let (log, entries) = ("/v1/groups/{log}", "/v1/groups/{log}/entries");
    let (staged, slots, keeper) = ("/v1/groups/{log}/staged", "/v1/groups/{log}/slots", "/v1/groups/{log}/keeper");
    let none = Vec::new;
    for (method, path, token, body, expected) in [
        (&put, log, None, made.clone(), 201),
        (&put, log, None, made, 200),
        (&put, log, None, b"{".to_vec(), 400),
        (&get, log, reads, none(), 200),
        (&get, log, guess, none(), 404),
        (&get, log, None, none(), 400),
        (&post, entries, writes, genesis.clone(), 201),
        (&post, entries, writes, genesis, 200),
        (&post, entries, writes, event(0, b"another").encode(), 409),
        (&post, entries, writes, b"none".to_vec(), 400),
        (&post, entries, guess, event(1, b"another").encode(), 404),
        (&post, entries, writes, vec![0; 100_000], 413),
        (&get, entries, reads, none(), 200),
        (&get, entries, guess, none(), 404),
        (&post, staged, writes, keys.clone(), 201),
        (&post, staged, writes, keys, 200),
        (&put, slots, writes, slot.to_string().into_bytes(), 200),
        (&put, slots, writes, b"{\"slot\": \"AA\"}".to_vec(), 400),
        (&get, slots, reads, none(), 200),
        (&post, keeper, None, keep.to_string().into_bytes(), 200),
        (&post, keeper, None, b"{}".to_vec(), 400),
        (&delete, log, None, none(), 200),
        (&delete, log, None, none(), 404),
    ] {
        let url = format!("{}{}", directory.url, path.replace("{log}", &team.log.to_string()));
        let mut request = directory.http.request(method.clone(), url).body(body);
        match token {
            Some(token) => request = request.header(GROUP_TOKEN_HEADER, Base64::text(&token)),
            None => request = request.bearer_auth(bearer),
        }
        let status = true_answer(api, method, path, request.send().await.unwrap()).await;
        assert_eq!(status, expected, "{method} {path}");
        note(method, path, status);
    }
}
