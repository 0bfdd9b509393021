//! What the makers' plates say: hashrate and power of each model, at the wall.
//!
//! Source: public catalogues and shop lists, gathered in August 2026, tolerance about 5 %; not confirmed by the makers.
//! An id is stored in events: it is never given to another model.

use super::miner_order::MinerOrder;

/// Who built a machine, which decides how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Antminer,
    Whatsminer,
    Avalon,
    Sealminer,
}

impl Maker {
    /// Whether stock firmware of this maker takes the order, as far as this program can speak to it.
    pub fn takes(self, order: &MinerOrder) -> bool {
        match self {
            Self::Antminer => true,
            Self::Whatsminer => !matches!(order, MinerOrder::SetFan { .. }),
            Self::Avalon | Self::Sealminer => false,
        }
    }
}

/// One model as its plate describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Stable number of the model.
    pub id: i64,
    pub name: &'static str,
    pub maker: Maker,
    pub hashrate_ths: f64,
    pub power_w: f64,
}

const fn model(id: i64, maker: Maker, name: &'static str, hashrate_ths: f64, power_w: f64) -> Model {
    Model { id, name, maker, hashrate_ths, power_w }
}

/// Every model, in order of id.
pub const MODELS: &[Model] = &[
    model(1, Maker::Antminer, "Antminer S21", 200.0, 3_500.0),
    model(2, Maker::Antminer, "Antminer S9", 13.5, 1_323.0),
    model(3, Maker::Antminer, "Antminer S17", 56.0, 2_520.0),
    model(4, Maker::Antminer, "Antminer S17e", 64.0, 2_880.0),
    model(5, Maker::Antminer, "Antminer T19", 84.0, 3_150.0),
    model(6, Maker::Antminer, "Antminer S19", 95.0, 3_250.0),
    model(7, Maker::Antminer, "Antminer S19j", 90.0, 3_250.0),
    model(8, Maker::Antminer, "Antminer S19a", 96.0, 3_312.0),
    model(9, Maker::Antminer, "Antminer S19j Pro 100", 100.0, 2_950.0),
    model(10, Maker::Antminer, "Antminer S19j Pro 104", 104.0, 3_068.0),
    model(11, Maker::Antminer, "Antminer S19a Pro", 110.0, 3_245.0),
    model(12, Maker::Antminer, "Antminer S19 Pro", 110.0, 3_250.0),
    model(13, Maker::Antminer, "Antminer S19j Pro+", 120.0, 3_300.0),
    model(14, Maker::Antminer, "Antminer S19k Pro", 120.0, 2_760.0),
    model(15, Maker::Antminer, "Antminer S19 XP", 140.0, 3_010.0),
    model(16, Maker::Antminer, "Antminer S19j XP", 151.0, 3_247.0),
    model(17, Maker::Antminer, "Antminer S19 XP Hyd", 255.0, 5_304.0),
    model(18, Maker::Antminer, "Antminer T21", 190.0, 3_610.0),
    model(19, Maker::Antminer, "Antminer S21+", 216.0, 3_564.0),
    model(20, Maker::Antminer, "Antminer S21 Pro", 234.0, 3_510.0),
    model(21, Maker::Antminer, "Antminer S21 Hyd", 335.0, 5_360.0),
    model(22, Maker::Antminer, "Antminer S21e Hyd", 332.0, 5_644.0),
    model(23, Maker::Antminer, "Antminer S21+ Hyd", 395.0, 5_925.0),
    model(24, Maker::Antminer, "Antminer S21 XP", 270.0, 3_645.0),
    model(25, Maker::Antminer, "Antminer S21 XP Hyd", 473.0, 5_676.0),
    model(26, Maker::Antminer, "Antminer S23", 318.0, 3_498.0),
    model(27, Maker::Antminer, "Antminer S23 Hyd", 580.0, 5_510.0),
    model(28, Maker::Sealminer, "SealMiner A2", 226.0, 3_730.0),
    model(29, Maker::Sealminer, "SealMiner A2 Pro Air", 255.0, 3_790.0),
    model(30, Maker::Sealminer, "SealMiner A3 Pro Air", 290.0, 3_625.0),
    model(31, Maker::Whatsminer, "WhatsMiner M30S+", 100.0, 3_400.0),
    model(32, Maker::Whatsminer, "WhatsMiner M30S++", 112.0, 3_472.0),
    model(33, Maker::Whatsminer, "WhatsMiner M31S+", 80.0, 3_360.0),
    model(34, Maker::Whatsminer, "WhatsMiner M50", 118.0, 3_422.0),
    model(35, Maker::Whatsminer, "WhatsMiner M50S", 128.0, 3_328.0),
    model(36, Maker::Whatsminer, "WhatsMiner M50S++", 160.0, 3_520.0),
    model(37, Maker::Whatsminer, "WhatsMiner M53S", 252.0, 6_554.0),
    model(38, Maker::Whatsminer, "WhatsMiner M56S++", 254.0, 5_588.0),
    model(39, Maker::Whatsminer, "WhatsMiner M60", 172.0, 3_422.0),
    model(40, Maker::Whatsminer, "WhatsMiner M60S", 186.0, 3_441.0),
    model(41, Maker::Whatsminer, "WhatsMiner M60S+", 212.0, 3_600.0),
    model(42, Maker::Whatsminer, "WhatsMiner M60S++", 226.0, 3_600.0),
    model(43, Maker::Whatsminer, "WhatsMiner M63S", 390.0, 7_215.0),
    model(44, Maker::Whatsminer, "WhatsMiner M63S++", 464.0, 7_200.0),
    model(45, Maker::Whatsminer, "WhatsMiner M66S", 298.0, 5_513.0),
    model(46, Maker::Whatsminer, "WhatsMiner M66S+", 318.0, 5_406.0),
    model(47, Maker::Whatsminer, "WhatsMiner M66S++", 348.0, 5_394.0),
    model(48, Maker::Whatsminer, "WhatsMiner M70S", 226.0, 3_140.0),
    model(49, Maker::Whatsminer, "WhatsMiner M72S", 264.0, 4_000.0),
    model(50, Maker::Whatsminer, "WhatsMiner M73S", 500.0, 7_200.0),
    model(51, Maker::Whatsminer, "WhatsMiner M79", 920.0, 14_500.0),
    model(52, Maker::Avalon, "Avalon A1246", 90.0, 3_420.0),
    model(53, Maker::Avalon, "Avalon A1366", 130.0, 3_250.0),
    model(54, Maker::Avalon, "Avalon A1466", 150.0, 3_230.0),
    model(55, Maker::Avalon, "Avalon A1566", 185.0, 3_420.0),
    model(56, Maker::Avalon, "Avalon A1566I", 261.0, 4_500.0),
    model(57, Maker::Avalon, "Avalon A15 Pro", 221.0, 3_662.0),
    model(58, Maker::Avalon, "Avalon A16XP", 300.0, 3_850.0),
    model(59, Maker::Avalon, "Avalon Q", 90.0, 1_674.0),
    model(60, Maker::Sealminer, "SealMiner A4 Pro Air", 336.0, 3_662.0),
];

/// The model of that number.
pub fn by_id(id: i64) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

impl Model {
    /// Watts a terahash a second, which is joules a terahash.
    pub fn efficiency_jth(&self) -> f64 {
        self.power_w / self.hashrate_ths
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_ids_count_up_from_one() {
        assert!((1..).zip(MODELS).all(|(id, model)| model.id == id));
        let names: BTreeSet<_> = MODELS.iter().map(|model| model.name).collect();
        assert_eq!(names.len(), MODELS.len());
        assert_eq!(MODELS.len(), 60);
    }

    #[test]
    fn plates_are_plausible() {
        for model in MODELS {
            assert!(
                (9.0..=100.0).contains(&model.efficiency_jth()),
                "{} has {} J/TH",
                model.name,
                model.efficiency_jth()
            );
        }
    }

    #[test]
    fn fans_are_set_on_antminers_only_and_other_makers_are_not_spoken_to() {
        let fan = MinerOrder::SetFan { speed_percent: Some(80) };
        assert!(Maker::Antminer.takes(&fan) && !Maker::Whatsminer.takes(&fan));
        assert!(Maker::Whatsminer.takes(&MinerOrder::Shutdown));
        assert!(!Maker::Avalon.takes(&MinerOrder::Start) && !Maker::Sealminer.takes(&MinerOrder::Restart));
    }

    #[test]
    fn models_are_found_by_number() {
        assert_eq!(by_id(1).map(|model| model.name), Some("Antminer S21"));
        assert_eq!(by_id(37).map(|model| (model.name, model.power_w)), Some(("WhatsMiner M53S", 6_554.0)));
        assert_eq!(by_id(0), None);
    }
}
