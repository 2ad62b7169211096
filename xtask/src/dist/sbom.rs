//! What a package is made of, for machines: CycloneDX 1.5 (JSON).

use anyhow::Result;
use serde_json::{Value, json};

use super::graph::Crate;
use super::work::{Run, date, hex};

/// The list of a package. Its serial number is made from its content, so that the same content has the same one.
pub fn document(run: &Run, package: &str, summary: &str, crates: &[(&Crate, Vec<&Crate>)]) -> Result<String> {
    let root = format!("pkg:generic/{package}@{}", run.version);
    let programs: Vec<String> =
        crates.iter().filter(|(known, _)| known.is_ours).map(|(known, _)| name(known)).collect();
    let mut dependencies: Vec<Value> = vec![json!({ "ref": &root, "dependsOn": programs })];
    dependencies.extend(crates.iter().map(|(known, needs)| {
        let needs: Vec<String> = needs.iter().map(|need| name(need)).collect();
        json!({ "ref": name(known), "dependsOn": needs })
    }));
    let components: Vec<Value> = crates.iter().map(|(known, _)| component(known)).collect();
    let serial = hex(format!("{root} {dependencies:?} {components:?}").as_bytes());
    let part = |from: usize, to: usize| serial.get(from..to).unwrap_or_default();
    let serial =
        format!("urn:uuid:{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial,
        "version": 1,
        "metadata": {
            "timestamp": date(run.epoch, "+%Y-%m-%dT%H:%M:%SZ")?,
            "component": {
                "type": "application",
                "bom-ref": &root,
                "name": package,
                "version": &run.version,
                "description": summary,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "purl": &root,
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn name(known: &Crate) -> String {
    format!("pkg:cargo/{}@{}", known.name, known.version)
}

fn component(known: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": name(known),
        "name": known.name,
        "version": known.version,
        "licenses": [{ "expression": known.licence }],
        "purl": name(known),
    });
    if let Some(checksum) = &known.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}
