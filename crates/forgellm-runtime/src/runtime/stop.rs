//! Stop strings in streamed text.

/// Passes text on until a stop string appears, which is never passed on, nor any part of it.
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
}

impl StopFilter {
    /// A filter for these strings; empty ones are ignored.
    pub fn new(stops: &[String]) -> StopFilter {
        StopFilter {
            stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            held: String::new(),
        }
    }

    /// Adds text; gives the text that is safe to pass on, and whether a stop string was met, after which there is no more.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(position) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(position);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.held.split_off(self.held.len() - self.possible_start());
        (std::mem::replace(&mut self.held, kept), false)
    }

    /// The text held back, once no more can come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that a stop string may start with.
    fn possible_start(&self) -> usize {
        let longest = |stop: &String| {
            let starts = stop.char_indices().map(|(start, _)| start).rev();
            starts.into_iter().find(|&start| self.held.ends_with(&stop[..start])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}
