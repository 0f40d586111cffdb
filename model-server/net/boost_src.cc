// The compiled part of Asio and Beast, once (BOOST_ASIO_SEPARATE_COMPILATION): the other
// translation units then compile in half the time.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
