//! Delivery and its surroundings, driven without a network.

mod sim;
