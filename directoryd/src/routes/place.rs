//! Where a request comes from, in a form that tells nobody.

use std::net::IpAddr;

use proto::ids::sha256;

use crate::state::Directory;

/// A name of a place for one use, which `use_of` says: of no use elsewhere, and not to be turned back without the directory's key.
pub fn place(directory: &Directory, use_of: &[&[u8]], what: &[u8]) -> [u8; 8] {
    let key = directory.store.identity().key().as_bytes();
    let hash = sha256(&[&use_of.concat(), key, what]);
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    short
}

/// The network of a site, and the part of it that one host has.
pub fn networks(address: IpAddr) -> ([u8; 6], [u8; 8]) {
    let (mut site, mut host) = ([0; 6], [0; 8]);
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            site[..3].copy_from_slice(&ip.octets()[..3]);
            host[..4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            site.copy_from_slice(&ip.octets()[..6]);
            host.copy_from_slice(&ip.octets()[..8]);
        }
    }
    (site, host)
}
