//! How long programs are for each operation, in both orders.

use std::fs::File;

use heaplab_workloads::catalog;
use heaplab_workloads::program::layout::{WINDOW_DRAIN, WINDOW_NUDGE};
use heaplab_workloads::program::window::Window;
use heaplab_workloads::program::{Order, ProgramFile, ProgramReader, SLACK_BYTES, Windows, compile};
use heaplab_workloads::simulate::Options;

use crate::Choices;
use crate::replay::open;

/// Prints the length of the chosen trace's programs, and of two that ship.
pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    println!("\nlength of programs");
    println!("promised: at most 12 bytes per operation of the trace");
    print_row(&open(choices)?.0, || Ok(open(choices)?.1))?;
    if choices.test {
        return Ok(());
    }
    print_row("threaded", || Ok(Box::new(catalog::find("threaded")?.open(&Options::default())?)))?;
    let overrides = vec!["pymalloc=false".to_owned()];
    let options = Options { overrides, ..Options::default() };
    print_row("monitor-server, pymalloc=false", || {
        Ok(Box::new(catalog::find("monitor-server")?.open(&options)?))
    })
}

fn print_row(
    name: &str,
    open: impl Fn() -> anyhow::Result<Box<dyn heaplab_workloads::stream::RecordStream>>,
) -> anyhow::Result<()> {
    for order in [Order::Causal, Order::Strict] {
        let mut stream = open()?;
        let file = ProgramFile::create_in(&std::env::temp_dir())?;
        let cut = Windows::new(order, Windows::EVENTS, stream.header().has_times);
        let info = compile(&mut *stream, &file, order, cut, &mut |_| {})?;
        let (bytes, ops) = measure(File::open(file.path())?)?;
        println!(
            "{name:<32} {order:<8} {ops:>12} operations {:>6.2} bytes per operation; with drain and nudge {:.1} MiB",
            bytes as f64 / ops.max(1) as f64,
            info.file_bytes as f64 / (1 << 20) as f64
        );
    }
    Ok(())
}

/// Bytes and operations of the windows that come from the trace. The drain and the nudge, 300,000 operations whatever the
/// trace, are not among them.
fn measure(file: File) -> anyhow::Result<(u64, u64)> {
    let mut reader = ProgramReader::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut ops) = (0, 0);
    loop {
        let filled = reader.fill(&mut buffer)?;
        if filled > buffer.len() - SLACK_BYTES {
            buffer.resize(filled, 0);
            continue;
        }
        if filled == 0 {
            return Ok((bytes, ops));
        }
        let mut at = 0;
        while at < filled {
            let Some(head) = Window::from_bytes(&buffer[at..]) else { anyhow::bail!("a window is cut off") };
            if head.flags & (WINDOW_DRAIN | WINDOW_NUDGE) == 0 {
                bytes += head.bytes;
                ops += u64::from(head.ops);
            }
            at += head.bytes as usize;
        }
    }
}
