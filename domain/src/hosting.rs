//! Sites, miners, what they are told to do, and curtailment.

pub mod curtailment_run;
pub mod curtailment_selection;
pub mod miner;
pub mod miner_command;
pub mod miner_order;
pub mod mining_economics;
pub mod model_catalogue;
pub mod site;
pub mod unique_name;
