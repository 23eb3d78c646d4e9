//! Dates as Python writes them.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `strftime` of a time in seconds since 1970, in English and without a time zone, with the codes that date lines use.
pub fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let date = Date::of(seconds);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (month, weekday) = (MONTHS[date.month as usize - 1], WEEKDAYS[date.weekday as usize]);
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let unpadded = characters.as_str().starts_with('-');
        if unpadded {
            characters.next();
        }
        let number = |value: u64, width: usize| {
            if unpadded { value.to_string() } else { format!("{value:0width$}") }
        };
        out += &match characters.next() {
            Some('d') => number(date.day, 2),
            Some('e') if unpadded => date.day.to_string(),
            Some('e') => format!("{:2}", date.day),
            Some('m') => number(date.month, 2),
            Some('y') => number(date.year % 100, 2),
            Some('Y') => date.year.to_string(),
            Some('j') => number(date.day_of_year, 3),
            Some('B') => month.to_owned(),
            Some('b' | 'h') => month[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => number(hour, 2),
            Some('I') => number((hour + 11) % 12 + 1, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('F') => format!("{}-{:02}-{:02}", date.year, date.month, date.day),
            Some('T' | 'X') => format!("{hour:02}:{minute:02}:{second:02}"),
            // Python's times know no zone unless they are told one.
            Some('Z' | 'z') => String::new(),
            Some('w') => ((date.weekday + 1) % 7).to_string(),
            Some('u') => (date.weekday + 1).to_string(),
            Some('U') => number((date.day_of_year + 6 - (date.weekday + 1) % 7) / 7, 2),
            Some('W') => number((date.day_of_year + 6 - date.weekday) / 7, 2),
            Some('C') => number(date.year / 100, 2),
            Some('c') => strftime("%a %b %e %H:%M:%S %Y", seconds)?,
            Some('x' | 'D') => strftime("%m/%d/%y", seconds)?,
            Some('r') => strftime("%I:%M:%S %p", seconds)?,
            Some('R') => format!("{hour:02}:{minute:02}"),
            Some('n') => "\n".to_owned(),
            Some('t') => "\t".to_owned(),
            Some('%') => "%".to_owned(),
            code => {
                let code = code.map(String::from).unwrap_or_default();
                let message = format!("strftime_now does not know the code %{code}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
    }
    Ok(out)
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    /// From 1.
    month: u64,
    /// From 1.
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// From 0, Monday.
    weekday: u64,
}

impl Date {
    fn of(seconds: u64) -> Date {
        let mut days = seconds / 86_400;
        // 1970-01-01 was a Thursday.
        let weekday = (days + 3) % 7;
        // Whole cycles of 400 years first, so that the loop below is short for any input.
        let mut year = 1970 + days / 146_097 * 400;
        days %= 146_097;
        while days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let day_of_year = days + 1;
        let february = 28 + u64::from(is_leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        Date { year, month, day: days + 1, day_of_year, weekday }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
