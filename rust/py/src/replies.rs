//! Answers of a server as Python's values.

use fd_router_resp::{Answer, Bad, Buffer, Token};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

/// Bytes that come from a server.
#[pyclass(frozen, module = "fd_router._core")]
struct Replies {
    buffer: Mutex<Buffer>,
    limit: usize,
}

#[pymethods]
impl Replies {
    #[new]
    fn new(limit: usize) -> Self {
        Self {
            buffer: Mutex::new(Buffer::new(limit)),
            limit,
        }
    }

    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut answers = Vec::new();
        // Not under the lock: to make a value may run Python's collector.
        let mut buffer = std::mem::take(&mut *self.buffer.lock());
        let fed = buffer.feed(data, |mut answer| {
            answers.push(value(py, &mut answer)?);
            Ok(())
        });
        *self.buffer.lock() = buffer;
        fed.map(|()| answers).map_err(|problem| match problem {
            Problem::Bad(Bad::TooLarge) => {
                PyValueError::new_err(format!("an answer is larger than {} bytes", self.limit))
            }
            Problem::Bad(Bad::Malformed) => PyValueError::new_err("what came is no answer"),
            Problem::Python(error) => error,
        })
    }
}

enum Problem {
    Bad(Bad),
    Python(PyErr),
}

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

impl From<PyErr> for Problem {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

fn value<'py>(py: Python<'py>, answer: &mut Answer<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match answer.next() {
        None | Some(Token::Nothing) => py.None().into_bound(py),
        Some(Token::Bytes(bytes)) => PyBytes::new(py, bytes).into_any(),
        Some(Token::Number(number)) => number.into_pyobject(py)?.into_any(),
        Some(Token::Refused(words)) => {
            PyString::new(py, &String::from_utf8_lossy(words)).into_any()
        }
        Some(Token::Array(count)) => {
            let list = PyList::empty(py);
            for _ in 0..count {
                list.append(value(py, answer)?)?;
            }
            list.into_any()
        }
    })
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Replies>()
}
