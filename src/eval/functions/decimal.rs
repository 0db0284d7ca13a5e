//! Exact decimals for the float functions: a coefficient times a power of ten.
//!
//! Where an exact result would need more than 38 digits, the float result is taken instead.

use crate::eval::function::FuncError;
use crate::eval::print;

/// A decimal number.
#[derive(Clone, Debug)]
pub struct Decimal {
    coefficient: i128,
    exponent: i32,
}

/// How many digits a quotient keeps after the point.
const DIVISION_DIGITS: i32 = 16;

impl Decimal {
    /// Makes the decimal with the shortest digits that read back as the float.
    pub fn of(f: f64) -> Result<Self, FuncError> {
        if f.is_nan() {
            return Err(FuncError::new("Cannot create a Decimal from NaN"));
        }
        if f.is_infinite() {
            let sign = if f > 0.0 { '+' } else { '-' };
            return Err(FuncError::new(format!("Cannot create a Decimal from {sign}Inf")));
        }
        Ok(Self::nearest(f))
    }

    fn nearest(f: f64) -> Self {
        let f = if f.is_finite() { f } else { 0.0 };
        let (digits, exponent) = print::shortest(f.abs());
        let coefficient = digits.iter().fold(0i128, |n, d| n * 10 + i128::from(d - b'0'));
        let exponent = exponent + 1 - digits.len() as i32;
        Self { coefficient: if f < 0.0 { -coefficient } else { coefficient }, exponent }
    }

    /// Returns the nearest float.
    pub fn to_float(&self) -> f64 {
        format!("{}e{}", self.coefficient, self.exponent).parse().unwrap_or(0.0)
    }

    fn scaled(&self, exponent: i32) -> Option<i128> {
        let by = u32::try_from(self.exponent - exponent).ok()?;
        self.coefficient.checked_mul(10i128.checked_pow(by)?)
    }

    fn combined(&self, other: &Self, exact: fn(i128, i128) -> Option<i128>, rough: fn(f64, f64) -> f64) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let sum = self.scaled(exponent).zip(other.scaled(exponent)).and_then(|(a, b)| exact(a, b));
        match sum {
            Some(coefficient) => Self { coefficient, exponent },
            None => Self::nearest(rough(self.to_float(), other.to_float())),
        }
    }

    /// Adds.
    pub fn add(&self, other: &Self) -> Self {
        self.combined(other, i128::checked_add, |a, b| a + b)
    }

    /// Subtracts.
    pub fn sub(&self, other: &Self) -> Self {
        self.combined(other, i128::checked_sub, |a, b| a - b)
    }

    /// Multiplies.
    pub fn mul(&self, other: &Self) -> Self {
        match self.coefficient.checked_mul(other.coefficient) {
            Some(coefficient) => Self { coefficient, exponent: self.exponent + other.exponent },
            None => Self::nearest(self.to_float() * other.to_float()),
        }
    }

    /// Divides to 16 digits after the point, rounding half away from zero; `None` for a division by zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        if other.coefficient == 0 {
            return None;
        }
        let negative = (self.coefficient < 0) != (other.coefficient < 0);
        let (dividend, divisor) = (self.coefficient.unsigned_abs(), other.coefficient.unsigned_abs());
        let shift = self.exponent - other.exponent + DIVISION_DIGITS;
        let quotient = divided(dividend, divisor, shift);
        let Some(quotient) = quotient.and_then(|q| i128::try_from(q).ok()) else {
            return Some(Self::nearest(self.to_float() / other.to_float()));
        };
        Some(Self { coefficient: if negative { -quotient } else { quotient }, exponent: -DIVISION_DIGITS })
    }
}

/// Returns `dividend · 10^shift / divisor`, rounded half up.
fn divided(dividend: u128, divisor: u128, shift: i32) -> Option<u128> {
    if shift < 0 {
        // A divisor beyond the largest integer leaves nothing of the quotient.
        let divisor = 10u128.checked_pow(shift.unsigned_abs()).and_then(|p| divisor.checked_mul(p));
        let Some(divisor) = divisor else { return Some(0) };
        return Some(dividend / divisor + u128::from(dividend % divisor >= divisor.div_ceil(2)));
    }
    let mut quotient = dividend / divisor;
    let mut remainder = dividend % divisor;
    for _ in 0..shift {
        remainder = remainder.checked_mul(10)?;
        quotient = quotient.checked_mul(10)?.checked_add(remainder / divisor)?;
        remainder %= divisor;
    }
    Some(quotient + u128::from(remainder >= divisor.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    fn d(f: f64) -> Decimal {
        Decimal::of(f).expect("a number")
    }

    #[test]
    fn arithmetic_is_decimal() {
        assert_eq!(d(0.1).add(&d(0.2)).to_float(), 0.3);
        assert_eq!(d(1.1).mul(&d(1.1)).to_float(), 1.21);
        assert_eq!(d(10.0).div(&d(3.0)).map(|q| q.to_float()), Some(3.333_333_333_333_333_5));
        assert!(d(1.0).div(&d(0.0)).is_none());
        assert_eq!(d(1e300).sub(&d(1e-300)).to_float(), 1e300);
    }
}
