# A server's work without its sockets: requests at a rate, hashes and strings, and a cache bounded by count.
#
#     cache.pl RATE SECONDS
use strict;
use warnings;
use Time::HiRes qw(sleep time);

my ($rate, $seconds) = @ARGV;
srand(1);
my (%cache, @order);
my ($start, $number) = (time, 0);
while ((my $now = time - $start) < $seconds) {
    if ($number > $now * $rate) { sleep 0.002; next }
    $number++;
    my %record;
    for my $key (1 .. int(exp(rand(5)))) {
        $record{"k$key"} = [map { int rand 1e6 } 1 .. 1 + int rand 12];
        $record{"m$key"} = "x" x int(exp(rand(8)));
    }
    my $text = join ",", map { "$_=" . (ref $record{$_} ? join(":", @{$record{$_}}) : $record{$_}) } sort keys %record;
    next if $number % 4;
    $cache{$number} = \%record;
    push @order, $number;
    delete $cache{shift @order} if @order > 100;
}
