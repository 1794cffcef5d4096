//! How long programs are for each event, in both orders.

use heaplab_workloads::catalog;
use heaplab_workloads::program::{Order, ProgramFile, Windows, compile};
use heaplab_workloads::simulate::Options;

use crate::Choices;
use crate::replay::open;

/// Prints the length of the chosen trace's programs, and of two that ship.
pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    println!("\nlength of programs");
    println!("promised: at most 12 bytes an event");
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
        let per_event = info.file_bytes as f64 / info.events.max(1) as f64;
        println!("{name:<32} {order:<8} {:>12} events {per_event:>6.2} bytes an event", info.events);
    }
    Ok(())
}
