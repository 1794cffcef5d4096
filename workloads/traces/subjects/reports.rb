# A server of reports with eight threads: JSON in, a summary out, every third report kept, the newest sixty of them.
#
#     ruby reports.rb PORT
require "socket"
require "json"

server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
trap("TERM") { exit!(0) }
cache = {}
connections = Queue.new
8.times do
  Thread.new do
    loop do
      connection = connections.pop
      path = connection.gets.to_s.split[1].to_s
      length = 0
      while (line = connection.gets) && line != "\r\n"
        length = $1.to_i if line =~ /content-length: (\d+)/i
      end
      records = JSON.parse(connection.read(length))
      cache[path] = records if path[2..].to_i % 3 == 0
      cache.shift if cache.size > 60
      summary = JSON.generate(report: path, sums: records.map { |one| one["values"].sum }, texts: records.map { |one| one["m"].upcase })
      connection.write("HTTP/1.1 200 OK\r\nContent-Length: #{summary.bytesize}\r\nConnection: close\r\n\r\n", summary)
    rescue StandardError => error
      warn error.message
    ensure
      connection&.close
    end
  end
end
loop { connections << server.accept }
